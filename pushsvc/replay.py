"""From a cursor to now: what every join, every reconnect and every healing reads. The one way to catch up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from pushsvc import sse
from pushsvc.event import BEGINNING, EventId
from pushsvc.eventlog import Clock, Entry, EventLog, Slice

READ_EVENTS: Final = 100  # per channel and read: bounds what one replay holds in memory
PAGE_BYTES: Final = 65536  # a page ends with the event that reaches it: bounds how long one write can take


class Page(NamedTuple):
    """Bytes to send, and the id of the last event in them (None: a gap)."""

    wire: bytes
    last: EventId | None


class Loss(NamedTuple):
    """Events that should be there and are not. `lost` is the newest of them, `oldest` the first one kept after."""

    lost: EventId
    oldest: EventId | None

    def reason(self, clock: Clock) -> str:
        return "trimmed" if self.lost.ms >= clock.cutoff else "expired"


def is_reset(cursor: EventId, clock: Clock) -> bool:
    """The cursor is of another life of the data: older than the clock's birth, or beyond what it ever drew."""
    return cursor != BEGINNING and not clock.epoch <= cursor <= clock.last


def losses(mark: EventId | None, piece: Slice, *, to_the_end: bool) -> Iterator[Loss]:
    """What is missing in a channel after `mark` (None: not known where it began, so nothing before the first entry).

    Every event names the one before it in its channel. So the first one read must follow one at or before the
    mark, and each later one the one just read; anything else is a loss, and nothing else is. If the slice goes
    `to_the_end` of what the channel ever had, its tail must be in it too.
    """
    for entry in piece.entries:
        if mark is not None and entry.prev > mark:
            yield Loss(entry.prev, entry.id)
        mark = entry.id
    if to_the_end and mark is not None and piece.tail > mark:
        yield Loss(piece.tail, None)


def replay(
    log: EventLog, channels: Sequence[str], after: EventId, clock: Clock, *, unasked: Sequence[str] = ()
) -> Iterator[Page]:
    """All events of the channels after `after`, up to `clock.last`, in id order, page by page.

    What is missing in between is said by a gap event before what was read along with it. For channels in
    `unasked` the reader never stood anywhere, so a beginning that is gone is no loss to it.
    """
    reset = is_reset(after, clock)
    at = BEGINNING if reset else after
    marks: dict[str, EventId | None] = dict.fromkeys(channels, at) | dict.fromkeys(channels if reset else unasked)
    requested = after
    while True:
        slices = log.read(channels, at, clock.last, clock, READ_EVENTS)
        full = [piece.entries[-1].id for piece in slices if len(piece.entries) == READ_EVENTS]
        bound = min(full, default=clock.last)
        entries: list[Entry] = []
        lost: list[Loss] = []
        for channel, piece in zip(channels, slices, strict=True):
            here = Slice([entry for entry in piece.entries if entry.id <= bound], piece.tail)
            lost += losses(marks[channel], here, to_the_end=not full and piece.tail <= bound)
            if here.entries:
                marks[channel] = here.entries[-1].id
            entries += here.entries
        entries.sort(key=lambda entry: entry.id)
        if reset or lost:
            yield Page(_gap(requested, entries, lost, clock, reset), None)
        yield from _pages(entry for entry in entries if entry.alive(clock.now))
        if not full:
            return
        requested = at = bound
        reset = False


def _pages(entries: Iterable[Entry]) -> Iterator[Page]:
    wires: list[bytes] = []
    size, last = 0, None
    for entry in entries:
        wires.append(entry.wire())
        size, last = size + len(wires[-1]), entry.id
        if size >= PAGE_BYTES:
            yield Page(b"".join(wires), last)
            wires, size = [], 0
    if wires:
        yield Page(b"".join(wires), last)


def _gap(requested: EventId, entries: Sequence[Entry], lost: Sequence[Loss], clock: Clock, reset: bool) -> bytes:
    newest = max(lost, default=None, key=lambda loss: loss.lost)
    # The gap may move the browser's cursor past the loss only if no event that is still to come lies before it.
    cursor = newest.lost if newest is not None and (not entries or entries[0].id > newest.lost) else None
    if reset or newest is None:
        return sse.gap(requested, entries[0].id if entries else None, "reset", cursor or clock.epoch)
    oldest = max((loss.oldest for loss in lost if loss.oldest is not None), default=None)
    return sse.gap(requested, oldest, newest.reason(clock), cursor)
