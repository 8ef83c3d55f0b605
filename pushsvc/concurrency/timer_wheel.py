"""One clock for all items to check later, instead of a timer for each: each tick has a list of the items due."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Generic, Protocol, TypeVar


class Scheduled(Protocol):
    """An item that is scheduled for at most one tick of a wheel."""

    next_check_tick: int  # 0: not scheduled


_Item = TypeVar("_Item", bound=Scheduled)


class TimerWheel(Generic[_Item]):
    """A hashed timer wheel. An item that was rescheduled or cancelled is skipped at its old tick."""

    def __init__(self, tick_seconds: float) -> None:
        self._tick_seconds = tick_seconds
        self._now = 0
        self._places: defaultdict[int, list[_Item]] = defaultdict(list)

    def schedule(self, item: _Item, seconds: float) -> None:
        """Check the item in `seconds`, instead of at any earlier scheduled time."""
        tick = self._now + max(1, math.ceil(seconds / self._tick_seconds))
        self._places[tick].append(item)
        item.next_check_tick = tick

    @staticmethod
    def cancel(item: _Item) -> None:
        """Do not check the item. Harmless when repeated."""
        item.next_check_tick = 0

    def tick(self) -> list[_Item]:
        """Turn the wheel by one tick, and list the items that are due now."""
        self._now += 1
        here = dict.fromkeys(self._places.pop(self._now, ()))  # an item cancelled and rescheduled is here twice
        return [item for item in here if item.next_check_tick == self._now]
