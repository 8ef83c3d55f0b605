"""Lets a crowd go evenly, so that it comes back evenly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import gevent

CATCHING_UP: Final = 1.25  # times the even rate, at most, after this worker was held up
LATE_SECONDS: Final = 0.05  # what is due within so short a time may go at once


def spread(
    count: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = gevent.sleep,
) -> Iterator[int]:
    """Count to `count`, evenly over `seconds`; after this worker was held up, a little faster until it has caught
    up."""
    if not count:
        return
    step = seconds / count
    start = at = clock()
    for number in range(count):
        sleep(max(0.0, at - clock()))
        yield number
        at = max(start + (number + 1) * step, at + step / CATCHING_UP, clock() - LATE_SECONDS)
