"""The lives of the data: each process of Redis that has it begins one. What was lost between two of them is known by
the ids that nobody drew in either. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from typing import Final

from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.scripts import Command, Script

_LOSE: Final = Script("lose")

Hole = tuple[EventId, EventId]  # the last id of one life, and the first of the next


class EpochHistory:
    """As the epoch says them: the clock's birth, then for each life that followed on another the last id of that and
    the first of its own, which has a `!` if it is known that events were lost between the two."""

    def __init__(self, raw: bytes, lost: Collection[Hole] = ()) -> None:
        """`lost`: between which lives events were lost, though the epoch does not say so yet."""
        self.raw = raw
        words = raw.split()
        self.current = self.latest(raw)  # the first id of the last life
        self._bounds = [EventId.from_redis(word.rstrip(b"!")) for word in words]
        holes = list(zip(self._bounds[1::2], self._bounds[2::2], strict=False))
        self._seams = [
            hole for hole, word in zip(holes, words[2::2], strict=True) if word.endswith(b"!") or hole in lost
        ]

    @staticmethod
    def latest(raw: bytes) -> bytes:
        """What `current` would be; the epoch's end is enough for that."""
        return raw.rstrip(b"!").rpartition(b" ")[2]

    def before(self, other: EpochHistory) -> bool:
        """The last of these is over, as the other knows: they are of a master that has been replaced."""
        return other.end(self.current) is not None

    def lost(self, newest: Mapping[bytes, EventId]) -> set[Hole]:
        """Where events are missing, of whose lives these were the newest ids."""
        ends = ((self.end(life) or self.unowned_range(event_id), event_id) for life, event_id in newest.items())
        return {end for end, event_id in ends if end is not None and event_id > end[0]}

    def says(self, hole: Hole) -> bool:
        """It is known of that hole that events were lost there, or it is none of these lives'."""
        return hole in self._seams or hole[1] not in self._bounds

    def end(self, life: bytes) -> Hole | None:
        """Where the life that began with this id ended, and the next began. None: it is the last, or unknown."""
        first = EventId.from_redis(life) if life else BEGINNING
        at = bisect_left(self._bounds, first)
        if at % 2 or at + 2 >= len(self._bounds) or self._bounds[at] != first:
            return None
        return self._bounds[at + 1], self._bounds[at + 2]

    @property
    def birth(self) -> EventId:
        return self._bounds[0]

    def unowned_range(self, cursor: EventId) -> Hole | None:
        """The last id of one life and the first of the next, if it was drawn after the one and before the other: by
        a Redis whose data is lost. None: in one of these lives, or before all."""
        at = bisect_left(self._bounds, cursor)
        if at % 2 or at == 0 or self._bounds[at] == cursor:
            return None
        return self._bounds[at - 1], self._bounds[at]

    def recorded_loss(self, cursor: EventId) -> Hole | None:
        """The next two lives between which it is known that events after the cursor were lost; as `unowned_range`."""
        return next((seam for seam in self._seams if cursor <= seam[0]), None)

    @property
    def healed(self) -> EventId:
        """The first id after all the losses that are known."""
        return self._seams[-1][1] if self._seams else BEGINNING


def lose(keys: Keys, hole: Hole, seconds: int) -> Command:
    """The command that notes that events were lost there; for so long readers without a cursor are told, too."""
    return _LOSE.call([keys.epoch, keys.loss], *map(str, hole), seconds)
