"""One clock for all that is to be looked at later, instead of a timer each: who is due is found at the tick's place."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Generic, Protocol, TypeVar


class Scheduled(Protocol):
    """Something that stands at one tick of a wheel at most."""

    next_check_tick: int  # 0: at none


_Item = TypeVar("_Item", bound=Scheduled)


class TimerWheel(Generic[_Item]):
    """A hashed timer wheel. An item that was scheduled anew, or cancelled, is skipped at its old place."""

    def __init__(self, tick_seconds: float) -> None:
        self._tick_seconds = tick_seconds
        self._now = 0
        self._places: defaultdict[int, list[_Item]] = defaultdict(list)

    def schedule(self, item: _Item, seconds: float) -> None:
        """Look at the item in so many seconds, and not when it was to be looked at before."""
        tick = self._now + max(1, math.ceil(seconds / self._tick_seconds))
        self._places[tick].append(item)
        item.next_check_tick = tick

    @staticmethod
    def cancel(item: _Item) -> None:
        """Do not look at the item. Harmless when repeated."""
        item.next_check_tick = 0

    def tick(self) -> list[_Item]:
        """Turn the wheel by one tick, and list the items that are due now."""
        self._now += 1
        here = dict.fromkeys(self._places.pop(self._now, ()))  # cancelled and scheduled anew: it is here twice
        return [item for item in here if item.next_check_tick == self._now]
