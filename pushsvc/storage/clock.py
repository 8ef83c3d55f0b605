"""The position of the log: a reading of its clock, and what is known of a user's place in it."""

from __future__ import annotations

import contextlib
from typing import Final, NamedTuple

from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.redis.epochs import EpochHistory

NONE: Final = b"0-0"  # what clock.lua answers in place of a key that is not there


class Clock(NamedTuple):
    """A reading of the clock: the epochs of the data, the last id drawn, Redis's wall clock and the oldest time kept
    (both in ms since 1970)."""

    epochs: EpochHistory
    last: EventId
    now: int
    cutoff: int

    @property
    def birth(self) -> EventId:
        """The first id ever drawn in this data."""
        return self.epochs.birth

    def restart(self, cursor: EventId) -> EventId | None:
        """The id after which a reader goes on if its cursor is not of this data. None: it is of this data.

        A cursor between two epochs names a lost event; the reader resumes at the later epoch's first event. A cursor
        before the birth or beyond the last id is meaningless: that reader begins anew.
        """
        if cursor == BEGINNING:
            return None
        if not self.birth <= cursor <= self.last:
            return BEGINNING
        boundary = self.epochs.unowned_range(cursor)
        return None if boundary is None else boundary[1]


class Standing(NamedTuple):
    """The `position` up to which a user has received everything; None: it is unknown. `loss`: the data recently lost
    events, maybe the user's, or the position itself."""

    position: EventId | None
    loss: bool

    @property
    def is_lost(self) -> bool:
        """Whether the user may have had a position that is lost."""
        return self.position is None and self.loss


def position_in(raw: bytes) -> EventId | None:
    """Parse a position. None: there is none, or what is there is another program's."""
    with contextlib.suppress(ValueError):
        return None if raw == NONE else EventId.from_redis(raw)
    return None
