"""The epochs of the data: each Redis process that holds the data begins one. Ids between the epochs belong to events
that the data has lost. (Kafka calls it a leader epoch, Raft a term.)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from typing import Final

from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.scripts import Command, Script

_LOSE: Final = Script("log/lose")

Boundary = tuple[EventId, EventId]  # the last id of one epoch, and the first of the next


class EpochHistory:
    """The parsed value of the epoch key: `birth [last first[!]]…`. The birth is the first id ever drawn. Each further
    epoch is a pair: the last id of the one before, and the first of its own; `!` marks a known loss between the two.

    An epoch is named by its first id, as bytes.
    """

    def __init__(self, raw: bytes, lost: Collection[Boundary] = ()) -> None:
        """`lost`: boundaries at which events were lost, but which the raw value does not mark yet."""
        self.raw = raw
        words = raw.split()
        self.current = self.latest(raw)
        self._bounds = [EventId.from_redis(word.rstrip(b"!")) for word in words]
        boundaries = list(zip(self._bounds[1::2], self._bounds[2::2], strict=False))
        self._losses = [
            boundary
            for boundary, word in zip(boundaries, words[2::2], strict=True)
            if word.endswith(b"!") or boundary in lost
        ]

    @staticmethod
    def latest(raw: bytes) -> bytes:
        """The name of the last epoch. The end of the raw value is enough to know it."""
        return raw.rstrip(b"!").rpartition(b" ")[2]

    @property
    def birth(self) -> EventId:
        """The first id ever drawn in this data."""
        return self._bounds[0]

    def is_superseded_by(self, other: EpochHistory) -> bool:
        """Whether the other history shows that this one's last epoch has ended: then this one comes from a replaced
        master."""
        return other.end_of(self.current) is not None

    def losses_of(self, newest: Mapping[bytes, EventId]) -> set[Boundary]:
        """The boundaries at which an event is missing. `newest`: by epoch, an id that was seen in it."""
        ends = ((self.end_of(epoch) or self.unowned_range(event_id), event_id) for epoch, event_id in newest.items())
        return {end for end, event_id in ends if end is not None and event_id > end[0]}

    def knows_loss_at(self, boundary: Boundary) -> bool:
        """Whether a loss at the boundary is recorded, or the boundary is not one of this history's."""
        return boundary in self._losses or boundary[1] not in self._bounds

    def end_of(self, epoch: bytes) -> Boundary | None:
        """Find where an epoch ended and the next began. None: it is the last one, or unknown."""
        first = EventId.from_redis(epoch) if epoch else BEGINNING
        at = bisect_left(self._bounds, first)
        if at % 2 or at + 2 >= len(self._bounds) or self._bounds[at] != first:
            return None
        return self._bounds[at + 1], self._bounds[at + 2]

    def unowned_range(self, cursor: EventId) -> Boundary | None:
        """The boundary inside which the cursor lies: its id comes from a Redis whose data is lost. None: the cursor is
        in an epoch, or before all of them."""
        at = bisect_left(self._bounds, cursor)
        if at % 2 or at == 0 or self._bounds[at] == cursor:
            return None
        return self._bounds[at - 1], self._bounds[at]

    def recorded_loss(self, cursor: EventId) -> Boundary | None:
        """The first boundary after the cursor at which events are known to be lost."""
        return next((boundary for boundary in self._losses if cursor <= boundary[0]), None)

    @property
    def whole_since(self) -> EventId:
        """The first id after all known losses."""
        return self._losses[-1][1] if self._losses else BEGINNING


def record_loss(keys: Keys, boundary: Boundary, seconds: int) -> Command:
    """The command that records a loss at the boundary. For `seconds` it is also reported to readers without a
    cursor."""
    return _LOSE.call([keys.epoch, keys.loss], *map(str, boundary), seconds)
