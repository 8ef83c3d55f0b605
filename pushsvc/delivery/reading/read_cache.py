"""Shares reads of the log among many readers (request coalescing, "singleflight"). When a crowd of clients reconnects
at once, each channel is read once, and not once for each client.

The result of a read is kept for a moment. It is valid for a reader with a later clock as long as nothing was appended
to the channel in between. So an announcement drops the channel from the cache. If the announcement gets lost, the next
clock does: it brings the tails of the cached channels. A read that is under way when a clock comes is valid for
readers with that clock, because the log runs reads in the order in which they were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gevent.event import AsyncResult

from pushsvc.delivery.channels import Channels
from pushsvc.errors import Unavailable
from pushsvc.events.event import EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.entries import Slice
from pushsvc.storage.log import EventLog

MOST_CHANNELS: Final = 64  # each costs a lookup with every clock
MOST_SLICES: Final = 64  # per channel, for clients whose cursors differ
MOST_BYTES: Final = 16 * 2**20  # in the whole cache
CACHE_SECONDS: Final = 2.0  # after this time, trimmed or deleted events are noticed


class _Channel:
    """The cached slices of one channel, each by the cursor after which it begins. A read that is under way is an
    AsyncResult without a value yet.

    The slices hold all that the channel had when the clock stood at `valid_at`; `tail`: the id of its last event then.
    """

    __slots__ = ("bytes", "since", "slices", "tail", "valid_at", "widest")

    def __init__(self, valid_at: EventId, now: float) -> None:
        self.valid_at = valid_at
        self.since = now
        self.tail: EventId | None = None
        self.widest: tuple[EventId, Slice] | None = None  # to the end of the channel, from the earliest cursor
        self.slices: dict[EventId, AsyncResult[Slice]] = {}
        self.bytes = 0

    def put(self, after: EventId, piece: Slice) -> bool:
        """Add the slice that was read after a cursor. False: it does not fit the slices that were read before."""
        if self.tail is not None and self.tail != piece.tail:
            return False
        self.tail = piece.tail
        self.bytes += sum(len(entry.wire) for entry in piece.entries)
        if piece.whole and (self.widest is None or after < self.widest[0]):
            self.widest = (after, piece)
        return True

    def find(self, after: EventId) -> AsyncResult[Slice] | Slice | None:
        if self.widest is not None and self.widest[0] <= after:
            whole = self.widest[1]
            return whole._replace(entries=[entry for entry in whole.entries if entry.id > after])
        return self.slices.get(after)


class ReadCache:
    """Reads as EventLog does, for readers that get every announcement after their clock, as the Hub's subscribers
    do."""

    def __init__(self, log: EventLog, followed: Channels, now: Callable[[], float]) -> None:
        """`followed`: the followed channels; a read is kept only if several subscribers follow its channel. `now`:
        gives the monotonic time."""
        self._log = log
        self._followed = followed
        self._now = now
        self._channels: dict[str, _Channel] = {}

    def clock(self) -> Clock:
        """Read the clock, as `EventLog.clock` does. Raises Unavailable."""
        return self._log.clock()

    def channels(self) -> Sequence[str]:
        """List the channels whose tails the next clock must bring."""
        return list(self._channels)

    def validate(self, clock: Clock, tails: Mapping[str, EventId]) -> None:
        """Drop the channels whose tail is another than in the cache. `tails`: of the channels at the clock's moment."""
        for name, tail in tails.items():
            channel = self._channels.get(name)
            if channel is not None and channel.tail is not None:  # else a read is under way
                if channel.tail == tail:
                    channel.valid_at = clock.last
                else:
                    del self._channels[name]

    def invalidate(self, name: str) -> None:
        """Drop a channel: something was appended to it, or may have been."""
        self._channels.pop(name, None)

    def evict_old(self) -> None:
        """Drop channels older than CACHE_SECONDS. To be called regularly."""
        old = self._now() - CACHE_SECONDS
        for name in [name for name, channel in self._channels.items() if channel.since < old]:
            del self._channels[name]

    def read(self, channels: Sequence[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
        """Read as `EventLog.read` does. Raises Unavailable."""
        pieces: dict[str, AsyncResult[Slice] | Slice] = {}
        missing: dict[str, AsyncResult[Slice]] = {}
        for name in channels:
            found = self._find(name, after, clock)
            if found is None:
                found = missing[name] = self._reserve(name, after, clock)
            pieces[name] = found
        if missing:
            self._fetch(missing, after, clock, count)
        return [piece if isinstance(piece, Slice) else piece.get() for piece in pieces.values()]

    def _find(self, name: str, after: EventId, clock: Clock) -> AsyncResult[Slice] | Slice | None:
        channel = self._channels.get(name)
        return None if channel is None or channel.valid_at < clock.last else channel.find(after)

    def _reserve(self, name: str, after: EventId, clock: Clock) -> AsyncResult[Slice]:
        """Make a place for the result of a read; in the cache if other subscribers follow the channel."""
        place: AsyncResult[Slice] = AsyncResult()
        channel = self._channels.get(name)
        if self._followed.is_shared(name) and (channel is not None or len(self._channels) < MOST_CHANNELS):
            if channel is None or channel.valid_at < clock.last:
                channel = self._channels[name] = _Channel(clock.last, self._now())
            if len(channel.slices) < MOST_SLICES:
                channel.slices[after] = place
        return place

    def _fetch(self, missing: Mapping[str, AsyncResult[Slice]], after: EventId, clock: Clock, count: int) -> None:
        try:
            read = self._log.read(list(missing), after, clock, count)
        except BaseException as error:
            # This greenlet may have been killed; the others that wait for the same read were not.
            said = error if isinstance(error, Exception) else Unavailable("Try again.", retry_after=1)
            for name, place in missing.items():
                self.invalidate(name)
                place.set_exception(said)
            raise
        for (name, place), piece in zip(missing.items(), read, strict=True):
            place.set(piece)
            channel = self._channels.get(name)
            if channel is not None and channel.slices.get(after) is place:
                fits = channel.put(after, piece)
                if not fits or sum(each.bytes for each in self._channels.values()) > MOST_BYTES:
                    self.invalidate(name)
