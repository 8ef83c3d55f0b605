"""Reads the log from a cursor up to a clock, for every subscriber that joins, reconnects, or falls behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from pushsvc import metrics
from pushsvc.errors import Unavailable
from pushsvc.events import sse, websocket
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.events.proof import with_proof
from pushsvc.storage.clock import Clock
from pushsvc.storage.entries import Entry, Slice
from pushsvc.storage.gaps import Loss, losses, newest_loss, resume

# What one read may bring. It is not known before how large events are: a first read takes a few, further ones as many
# as those were small.
READ_EVENTS: Final = 100  # of each channel
READ_ALL: Final = 256  # of all channels together, but at least one of each
FIRST_ALL: Final = 32  # the same, at first
READ_BYTES: Final = 2**20  # wanted, of all channels together
LARGE_BYTES: Final = 2**18  # held by a replay that must wait for its turn, so that a worker holds few of them
LARGE_CHANNELS: Final = 16  # read at first by a replay that must wait for its turn
TURN_SECONDS: Final = 10.0  # for which it waits; then its client gets a heartbeat, and it tries again
MOST_LOOKS: Final = 5  # reads of a log that is trimmed faster than it is read, before missing events count as lost
PAGE_BYTES: Final = 65536  # a page ends with the event that reaches it: bounds how long one write can take


class Source(Protocol):
    """The log that a replay reads: an EventLog, or a ReadCache in front of it."""

    def clock(self) -> Clock:
        """Read the clock."""

    def read(self, channels: Sequence[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
        """Read at most `count` events of each channel after an id."""


class Turn(Protocol):
    """Lets few large replays go on at a time."""

    def take(self, seconds: float) -> bool:
        """Wait for the turn; harmless for who has it. False: it did not come in so many seconds."""

    def leave(self) -> None:
        """Let the next one go on. Harmless when repeated."""


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

    def proven(self, proof: str | None) -> Page:
        """The same with a ticket's proof behind each id."""
        return Page(with_proof(self.wire, proof), self.cursor)


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

    def __init__(  # noqa: PLR0913  # what the reader has had, and what it understands
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
        turn: Turn | None = None,
    ) -> None:
        """`clock`: the clock up to which to read; None: the present one. `lost`: the data has lost events that the
        reader may not have had, so a gap event is sent in any case. `cursors`: the reader understands `cursor` events.
        `turn`: to wait for if the replay is large."""
        self.through = after
        self._log = log
        self._clock = clock
        self._backfill = backfill
        self._lost = lost
        self._cursors = cursors
        self._stood = after != BEGINNING  # else events that were lost earlier are no loss to this reader
        self._channels = tuple(dict.fromkeys(channels))
        self._requested = None if lost and after == BEGINNING else after  # None: the reader's place is not known
        self._turn_to_wait_for = turn
        self._seen = self._seen_bytes = 0  # entries that were read so far
        self._pieces: dict[str, Slice] = {}  # what was read of a channel and is still to be sent
        self._marks: dict[str, EventId | None] = dict.fromkeys(channels, after) | dict.fromkeys(new_channels)

    def pages(self) -> Iterator[Page]:
        """Read page by page. Raises Unavailable."""
        try:
            yield from self._read_all()
        finally:
            self._pieces.clear()
            if self._turn_to_wait_for is not None:
                self._turn_to_wait_for.leave()

    def _read_all(self) -> Iterator[Page]:
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
            fresh = self._read([name for name in self._channels if name not in self._pieces], self.through, clock)
            self._pieces |= fresh
            looks += 1
            if looks % MOST_LOOKS and any(_trimmed_past(piece, clock) for piece in fresh.values()):
                clock = self._log.clock()
                self._pieces.clear()
                continue
            loss = clock.epochs.recorded_loss(self.through) if self._stood else None
            yield from self._send_read(loss[0] if loss else clock.last, clock, reset)
            looks, reset = 0, None
            if loss and self.through == loss[0]:
                self.through = reset = loss[1]
                self._pieces.clear()

    def _read(self, channels: Sequence[str], after: EventId, clock: Clock) -> dict[str, Slice]:
        """Read some of each channel. Waits for its turn if that is much. Raises Unavailable."""
        if not channels:
            return {}
        large = self._seen_bytes > LARGE_BYTES and self._mean > READ_BYTES // READ_ALL
        much = large or len(channels) > LARGE_CHANNELS
        if much and self._turn_to_wait_for is not None and not self._turn_to_wait_for.take(TURN_SECONDS):
            raise Unavailable("Others are brought up to date just now.", retry_after=1)
        most = READ_ALL if self._seen else FIRST_ALL
        count = max(1, min(READ_EVENTS, most // len(channels), READ_BYTES // (self._mean * len(channels))))
        found = dict(zip(channels, self._log.read(channels, after, clock, count), strict=True))
        for piece in found.values():
            self._seen += len(piece.entries)
            self._seen_bytes += sum(len(entry.wire) for entry in piece.entries)
        return found

    @property
    def _mean(self) -> int:
        """Bytes of an entry, of those that were read so far."""
        return max(1, self._seen_bytes // self._seen) if self._seen else 1

    def _fill(self, backfill: Backfill, clock: Clock) -> Iterator[Page]:
        """Read the missing events before the cursor. After each one a `cursor` event puts the browser's cursor back: a
        connection that breaks within a page must not resume from there, and get the events up to the cursor twice."""
        cursor = sse.cursor(self.through) if self._cursors else b""
        while backfill.channels:
            channel, known = next(iter(backfill.channels.items()))
            piece = self._read([channel], known, clock)[channel]
            entries = [entry for entry in piece.entries if entry.id <= backfill.until]
            # One entry more names its predecessor, and so shows whether an event is missing at the end of the range.
            lost = list(losses(known, Slice(piece.entries[: len(entries) + 1], piece.tail), whole=False))
            if lost:
                yield Page(_gap(self._requested, entries, lost, clock, backfill.until).wire + cursor, None)
            for page in _pages(e._replace(wire=e.wire + cursor) for e in entries if e.alive(clock.now)):
                yield page._replace(cursor=None)
            passed = [entry.id for entry in entries[-1:]] + [loss.lost for loss in lost]
            self._marks[channel] = backfill.channels[channel] = max(passed, default=known)
            if piece.whole or len(entries) < len(piece.entries):
                del backfill.channels[channel]

    def _send_read(self, until: EventId, clock: Clock, reset: EventId | None) -> Iterator[Page]:
        """Merge the pieces up to the id that all of them reach, but not past `until`. A piece that was not read to its
        end reaches to its last entry."""
        ends = [piece.entries[-1].id for piece in self._pieces.values() if not piece.whole]
        bound = min([*ends, until])
        entries: list[Entry] = []
        lost: list[Loss] = []
        for channel in self._channels:
            piece = self._pieces[channel]
            here = [entry for entry in piece.entries if entry.id <= bound]
            left = piece.entries[len(here) :]
            # One entry more names its predecessor, and so shows whether an event is missing at the end of the range.
            checked = Slice(here + left[:1], piece.tail)
            missing = list(losses(self._marks[channel], checked, whole=not left and not ends))
            passed = [entry.id for entry in here[-1:]] + [loss.lost for loss in missing]
            self._marks[channel] = max(passed, default=self._marks[channel])
            entries += here
            lost += missing
            if left or piece.whole:
                self._pieces[channel] = piece._replace(entries=left)
            else:
                del self._pieces[channel]
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
