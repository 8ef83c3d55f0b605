"""Spreads the closing of many connections evenly, so that the clients reconnect evenly."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

import gevent

CATCHING_UP: Final = 1.25  # times the even rate; the most by which a delayed worker may speed up
LATE_SECONDS: Final = 0.05  # steps that are at most so late may run at once


def spread(
    count: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = gevent.sleep,
) -> Iterator[int]:
    """Count to `count`, evenly over `seconds`. After a delay, count a little faster until it is made up."""
    if not count:
        return
    step = seconds / count
    start = at = clock()
    for number in range(count):
        sleep(max(0.0, at - clock()))
        yield number
        at = max(start + (number + 1) * step, at + step / CATCHING_UP, clock() - LATE_SECONDS)
