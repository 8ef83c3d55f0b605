"""Reads the log from a cursor up to a clock, for every subscriber that joins, reconnects, or falls behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from pushsvc import metrics
from pushsvc.events import sse, websocket
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.entries import Entry, Slice
from pushsvc.storage.gaps import Loss, losses, newest_loss, resume
from pushsvc.storage.log import Clock

READ_EVENTS: Final = 100  # per channel and read: bounds what one replay holds in memory
MOST_LOOKS: Final = 5  # reads of a log that is trimmed faster than it is read, before missing events count as lost
PAGE_BYTES: Final = 65536  # a page ends with the event that reaches it: bounds how long one write can take


class Source(Protocol):
    """The log that a replay reads: an EventLog, or a ReadCache in front of it."""

    def clock(self) -> Clock:
        """Read the clock."""

    def read(self, channels: Sequence[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
        """Read at most `count` events of each channel after an id."""


class Page(NamedTuple):
    """Bytes to send, and the cursor of a client that has got them. None: the cursor does not change. `entries`: the
    events in it, none where the service itself speaks."""

    wire: bytes
    cursor: EventId | None
    entries: Sequence[Entry] = ()

    def framed(self) -> Page:
        """The same as frames of a WebSocket."""
        if not self.entries:
            return Page(websocket.frames(self.wire), self.cursor)
        return Page(b"".join([websocket.frames(each.wire, each.channel) for each in self.entries]), self.cursor)


class Backfill(NamedTuple):
    """Channels in which the reader lacks events before its cursor `until`: each with the last event that the reader has
    had. A channel is removed once it has been read."""

    channels: dict[str, EventId]
    until: EventId


class Replay:
    """All events of the channels after a cursor, in id order, page by page. `through`: the id up to which was read.

    If events are missing, a gap event says so, before the events that were read together with the gap. In
    `new_channels` the reader has no cursor, so a beginning that is gone is no loss to it.
    """

    def __init__(
        self,
        log: Source,
        channels: Sequence[str],
        after: EventId,
        new_channels: Sequence[str] = (),
        clock: Clock | None = None,
        backfill: Backfill | None = None,
        *,
        lost: bool = False,
        cursors: bool = True,
    ) -> None:
        """`clock`: the clock up to which to read; None: the present one. `lost`: the data has lost events that the
        reader may not have had, so a gap event is sent in any case. `cursors`: the reader understands `cursor`
        events."""
        self.through = after
        self._log = log
        self._clock = clock
        self._backfill = backfill
        self._lost = lost
        self._cursors = cursors
        self._stood = after != BEGINNING  # else events that were lost earlier are no loss to this reader
        self._channels = channels
        self._requested = None if lost and after == BEGINNING else after  # None: the reader's place is not known
        self._marks: dict[str, EventId | None] = dict.fromkeys(channels, after) | dict.fromkeys(new_channels)

    def pages(self) -> Iterator[Page]:
        """Read page by page. Raises Unavailable."""
        clock = self._clock or self._log.clock()
        reset: EventId | None = None  # a gap event with the reason "reset" is due, and moves the cursor to this id
        at = resume(self.through, clock)
        if at.is_reset:
            self.through, reset = at.start, max(at.start, clock.birth)
            self._marks = dict.fromkeys(self._channels)
            self._stood = at.start != BEGINNING
        elif self._lost and not (self._stood and at.loss):  # else that gap reports it
            reset = max(self.through, clock.birth)
        if self._backfill is not None and self._backfill.channels and not at.is_reset:
            yield from self._fill(self._backfill, clock)
        looks = 0
        while self.through < clock.last or reset:
            pieces = self._log.read(self._channels, self.through, clock, READ_EVENTS)
            looks += 1
            if looks % MOST_LOOKS and any(_trimmed_past(piece, clock) for piece in pieces):
                clock = self._log.clock()
                continue
            loss = clock.epochs.recorded_loss(self.through) if self._stood else None
            yield from self._turn(pieces, loss[0] if loss else clock.last, clock, reset)
            looks, reset = 0, None
            if loss and self.through == loss[0]:
                self.through = reset = loss[1]

    def _fill(self, backfill: Backfill, clock: Clock) -> Iterator[Page]:
        """Read the missing events before the cursor. After each one a `cursor` event puts the browser's cursor back: a
        connection that breaks within a page must not resume from there, and get the events up to the cursor twice."""
        cursor = sse.cursor(self.through) if self._cursors else b""
        while backfill.channels:
            channel, known = next(iter(backfill.channels.items()))
            [piece] = self._log.read([channel], known, clock, READ_EVENTS)
            entries = [entry for entry in piece.entries if entry.id <= backfill.until]
            # One entry more names its predecessor, and so shows whether an event is missing at the end of the range.
            lost = list(losses(known, Slice(piece.entries[: len(entries) + 1], piece.tail), whole=False))
            if lost:
                yield Page(_gap(self._requested, entries, lost, clock, backfill.until).wire + cursor, None)
            for page in _pages(e._replace(wire=e.wire + cursor) for e in entries if e.alive(clock.now)):
                yield page._replace(cursor=None)
            passed = [entry.id for entry in entries[-1:]] + [loss.lost for loss in lost]
            self._marks[channel] = backfill.channels[channel] = max(passed, default=known)
            if len(entries) < READ_EVENTS:
                del backfill.channels[channel]

    def _turn(self, pieces: Sequence[Slice], until: EventId, clock: Clock, reset: EventId | None) -> Iterator[Page]:
        """Merge the pieces up to the id that all of them reach, but not past `until`. A piece that was not read to its
        end reaches to its last entry."""
        ends = [piece.entries[-1].id for piece in pieces if len(piece.entries) == READ_EVENTS]
        bound = min([*ends, until])
        entries: list[Entry] = []
        lost: list[Loss] = []
        for channel, piece in zip(self._channels, pieces, strict=True):
            here = [entry for entry in piece.entries if entry.id <= bound]
            # One entry more names its predecessor, and so shows whether an event is missing at the end of the range.
            more = piece.entries[len(here) : len(here) + 1]
            missing = list(losses(self._marks[channel], Slice(here + more, piece.tail), whole=not more and not ends))
            passed = [entry.id for entry in here[-1:]] + [loss.lost for loss in missing]
            self._marks[channel] = max(passed, default=self._marks[channel])
            entries += here
            lost += missing
        entries.sort(key=lambda entry: entry.id)
        metrics.REPLAYED.inc(len(entries))
        if reset or lost:
            yield _gap(self._requested, entries, lost, clock, bound, reset)
        yield from _pages(entry for entry in entries if entry.alive(clock.now))
        self._requested = self.through = bound


def _trimmed_past(piece: Slice, clock: Clock) -> bool:
    """Whether an entry after the clock is gone: the first one there names a predecessor that is after the clock, too.
    Only a reading with a later clock can tell what was in between."""
    beyond = next((entry for entry in piece.entries if entry.id > clock.last), None)
    return beyond is not None and beyond.prev > clock.last


def _pages(entries: Iterable[Entry]) -> Iterator[Page]:
    these: list[Entry] = []
    size = 0
    for entry in entries:
        these.append(entry)
        size += len(entry.wire)
        if size >= PAGE_BYTES:
            yield _page(these)
            these, size = [], 0
    if these:
        yield _page(these)


def _page(entries: Sequence[Entry]) -> Page:
    return Page(b"".join([entry.wire for entry in entries]), entries[-1].id, entries)


def _gap(
    requested: EventId | None,
    entries: Sequence[Entry],
    lost: Sequence[Loss],
    clock: Clock,
    bound: EventId,
    reset: EventId | None = None,
) -> Page:
    """Make the gap event that is sent before these `entries`, which are all up to the `bound`."""
    newest = newest_loss(lost)
    # The gap may move the browser's cursor past the loss only if no event yet to be sent lies before it.
    passes = newest is not None and newest.lost <= bound and (not entries or entries[0].id > newest.lost)
    cursor = newest.lost if newest is not None and passes else None
    if reset or newest is None:
        cursor = cursor or reset
        metrics.GAPS.labels("reset").inc()
        return Page(sse.gap(requested, entries[0].id if entries else None, "reset", cursor), cursor)
    oldest = max((loss.oldest for loss in lost if loss.oldest is not None), default=None)
    reason = newest.reason(clock)
    metrics.GAPS.labels(reason).inc()
    return Page(sse.gap(requested, oldest, reason, cursor), cursor)
