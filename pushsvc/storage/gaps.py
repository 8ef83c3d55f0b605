"""Finds lost events after a cursor. Streams, history pages, unread counts and kept answers all use this module, so that
they report the same losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pushsvc.events.event import EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.entries import Slice
from pushsvc.storage.redis.epochs import Boundary


class Resumption(NamedTuple):
    """The place at which a reader resumes that has received everything up to a cursor.

    `start`: read after this id. `is_reset`: the cursor is not of this data, so it is unknown what the reader missed.
    `loss`: the next place after the cursor at which the data is known to have lost events, None if there is none.
    """

    start: EventId
    is_reset: bool
    loss: Boundary | None


def resume(cursor: EventId, clock: Clock) -> Resumption:
    """Compare a cursor with the epochs of the data, without reading any channel."""
    restart = clock.restart(cursor)
    start = cursor if restart is None else restart
    return Resumption(start, restart is not None, clock.epochs.recorded_loss(start))


class Loss(NamedTuple):
    """Missing events of a channel. `lost`: the newest of them; `oldest`: the first kept event after it (None: there is
    none)."""

    lost: EventId
    oldest: EventId | None

    def reason(self, clock: Clock) -> str:
        """The `reason` of the `gap` event: "trimmed" by count, or "expired" by age."""
        return "trimmed" if self.lost.ms >= clock.cutoff else "expired"


def losses(mark: EventId | None, piece: Slice, *, whole: bool) -> Iterator[Loss]:
    """Find what is missing in one channel after `mark`. None: the reader's start is unknown, so nothing before the
    first entry counts as missing.

    Every event names the one before it in its channel. So the first one read must follow one at or before the
    mark, and each later one the one just read; anything else is a loss, and nothing else is. If the slice is the
    `whole` rest of the channel, its tail must be in it too.
    """
    for entry in piece.entries:
        if mark is not None and entry.prev > mark:
            yield Loss(entry.prev, entry.id)
        mark = entry.id
    if whole and mark is not None and piece.tail > mark:
        yield Loss(piece.tail, None)


def newest_loss(found: Iterable[Loss]) -> Loss | None:
    """The loss that a gap event describes: the one whose newest event is the newest of all."""
    return max(found, default=None, key=lambda loss: loss.lost)
