"""The events that a worker told of answers that have ended, for those who ask for the same again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from pushsvc.events.event import EventId

MOST_BYTES: Final = 16 * 2**20  # of all that is remembered
MOST_EACH_BYTES: Final = 2**20

Told = tuple[EventId, bytes]


class Retold:
    """The bytes of the last answers that were told as a whole, by their ids; an answer that has ended never changes."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, Told] = OrderedDict()  # the first was told longest ago
        self._size = 0

    def find(self, generation_id: str) -> Told | None:
        """The events that were told of an answer: the id of its first event, and the bytes."""
        if generation_id in self._told:
            self._told.move_to_end(generation_id)
        return self._told.get(generation_id)

    def keep(self, generation_id: str, told: Told) -> None:
        """Remember what was told, unless it is large."""
        if len(told[1]) > MOST_EACH_BYTES or generation_id in self._told:
            return
        self._told[generation_id] = told
        self._size += len(told[1])
        while self._size > MOST_BYTES:
            self._size -= len(self._told.popitem(last=False)[1][1])
