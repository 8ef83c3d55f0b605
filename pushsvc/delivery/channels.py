"""The channels that subscribers of this worker follow, and which subscribers are on the fast path.

Most connections are alike: live, detached, and with no bytes waiting. Such a connection is on the *fast path*: its
channels hold only its descriptor, and sending touches no subscriber object. With ten thousand connections, touching one
object for each would cost a quarter of the kernel's time for the send itself. All other subscribers are on the slow
path: events are offered to them one by one.

A descriptor may be closed only when no channel holds it any more, because the kernel soon reuses its number. So each
change here can be repeated, and `unfollow` repairs whatever an exception left half done.
"""

from __future__ import annotations

import contextlib
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Final

import gevent.event

from pushsvc.delivery.subscriber import Subscriber
from pushsvc.events.event import BEGINNING, EventId

_NOBODY: Final[dict[Subscriber, None]] = {}  # shared by the many channels without a slow subscriber, to save memory
_NO_SOCKETS: Final[dict[int, Subscriber]] = {}  # the same for those without a WebSocket


class Channel:
    """One channel and its followers. `last`: the newest known event, which the next announcement must follow; None: not
    known."""

    __slots__ = ("_fds", "fast", "framed", "last", "left_at", "sent_at", "slow")

    finite: ClassVar[bool] = False

    def __init__(self) -> None:
        self.fast: dict[int, Subscriber] = {}  # by descriptor
        self.framed = _NO_SOCKETS  # the same for WebSockets, which get other bytes
        self.slow = _NOBODY
        self.last: EventId | None = None
        self.sent_at = 0.0  # monotonic time of the last event
        self.left_at = 0.0  # monotonic time at which a subscriber last left
        self._fds: array[int] | None = None

    def __len__(self) -> int:
        return len(self.fast) + len(self.framed) + len(self.slow)

    def followers(self) -> list[Subscriber]:
        """All subscribers of the channel."""
        return [*self.fast.values(), *self.framed.values(), *self.slow]

    def note(self, event_id: EventId, prev: EventId) -> bool:
        """Note an event. `prev`: the channel's event before it. False: `prev` is not known here, so an announcement may
        be lost."""
        follows = self.last is not None and prev <= self.last
        self.last = event_id if self.last is None else max(self.last, event_id)
        return follows

    def fast_fds(self) -> array[int]:
        """The descriptors on the fast path, without those of WebSockets. The caller must not change the array."""
        if self._fds is None:
            self._fds = array("i", self.fast)
        return self._fds

    def add(self, subscriber: Subscriber) -> None:
        """Add a subscriber on the slow path."""
        if self.slow is _NOBODY:
            self.slow = {}
        self.slow[subscriber] = None

    def to_fast_path(self, subscriber: Subscriber, fd: int) -> None:
        """Hold only the subscriber's descriptor from now on."""
        if subscriber.kind.framed:
            if self.framed is _NO_SOCKETS:
                self.framed = {}
            self.framed[fd] = subscriber
        else:
            self._fds = None
            self.fast[fd] = subscriber
        self._forget_slow(subscriber)

    def to_slow_path(self, subscriber: Subscriber, fd: int) -> None:
        """Hold the subscriber itself from now on."""
        self.add(subscriber)
        self._forget_fast(subscriber, fd)

    def remove(self, subscriber: Subscriber, fd: int) -> None:
        """Remove a subscriber from either path. Harmless when repeated."""
        self._forget_fast(subscriber, fd)
        self._forget_slow(subscriber)

    def _forget_fast(self, subscriber: Subscriber, fd: int) -> None:
        if self.fast.get(fd) is subscriber:
            self._fds = None
            del self.fast[fd]
        elif self.framed.get(fd) is subscriber:
            del self.framed[fd]
            if not self.framed:
                self.framed = _NO_SOCKETS

    def _forget_slow(self, subscriber: Subscriber) -> None:
        self.slow.pop(subscriber, None)
        if not self.slow:
            self.slow = _NOBODY


class FiniteChannel(Channel):
    """A channel that ends, with an event that says so. Users have no position in it."""

    __slots__ = ()

    finite = True


class Channels:
    """All channels that a subscriber of this worker follows, or followed a moment ago.

    `through`: every announced event up to this id was sent to the fast path; it goes back when Redis loses events.
    """

    def __init__(self) -> None:
        self.through = BEGINNING
        self.waiting = 0  # greenlets in `settle`
        self._settled = gevent.event.Event()  # set while no batch is being written
        self._settled.set()
        self.epoch = b""  # the data's epoch, see EpochHistory.current
        self.version = 0  # rises when a descriptor leaves the fast path: a list made before may hold a stale one
        self._channels: dict[str, Channel] = {}

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A context manager around the writing of a batch, which may yield to other greenlets."""
        self._settled.clear()
        try:
            yield
        finally:
            self._settled.set()

    def settle(self) -> None:
        """Wait until no batch is being written: whoever leaves the fast path, and stays, would be one of whom nobody
        knows whether they have it."""
        self.waiting += 1
        try:
            while not self._settled.is_set():  # another may have begun before this greenlet had its turn
                self._settled.wait()
        finally:
            self.waiting -= 1

    def __getitem__(self, name: str) -> Channel:
        return self._channels[name]

    def get(self, name: str) -> Channel | None:
        """The channel of this name. None: nobody follows it."""
        return self._channels.get(name)

    def followed(self) -> Iterator[str]:
        """The names of the channels that somebody follows now."""
        return (name for name, channel in self._channels.items() if len(channel))

    def of(self, subscriber: Subscriber) -> Iterator[Channel]:
        """The channels that a subscriber follows."""
        return map(self._channels.__getitem__, subscriber.channels)

    def follow(self, subscriber: Subscriber) -> None:
        """Add the subscriber to its channels."""
        for name in subscriber.channels:
            self._follow(subscriber, name)

    def _follow(self, subscriber: Subscriber, name: str) -> None:
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = (FiniteChannel if subscriber.kind.finite else Channel)()
        channel.add(subscriber)

    def change(self, subscriber: Subscriber, channels: Sequence[str], now: float) -> None:
        """Have a subscriber on the slow path follow these channels, and no others. `now`: monotonic time."""
        for name in set(channels).difference(subscriber.channels):
            self._follow(subscriber, name)
        for name in set(subscriber.channels).difference(channels):
            self._channels[name].left_at = now
            self._channels[name].remove(subscriber, -1)
        subscriber.channels = tuple(map(sys.intern, channels))

    def unfollow(self, subscriber: Subscriber, fd: int, now: float) -> None:
        """Remove the subscriber from its channels, in whatever state it is. Harmless when repeated. `fd`: its
        descriptor, negative if it has none; `now`: monotonic time."""
        if fd >= 0:
            self.version += 1
        for name in subscriber.channels:
            channel = self._channels.get(name)
            if channel is not None:
                channel.left_at = now
                channel.remove(subscriber, fd)

    def to_fast_path(self, subscriber: Subscriber, fd: int) -> None:
        """Put a live subscriber with this descriptor on the fast path."""
        for channel in self.of(subscriber):
            channel.to_fast_path(subscriber, fd)

    def to_slow_path(self, subscriber: Subscriber, fd: int) -> None:
        """Take the subscriber off the fast path. From now on its own `last` is valid again."""
        self.version += 1
        subscriber.last = max(subscriber.last, self.through)
        for channel in self.of(subscriber):
            channel.to_slow_path(subscriber, fd)

    def positions_of(self, channel: Channel) -> Iterator[tuple[str, EventId]]:
        """Yield the channel's users, each with the newest event up to which everything was delivered, for the
        connections that the Hub writes to."""
        sent = self.sent(channel)
        for fast in (channel.fast, channel.framed):
            for fd, subscriber in list(fast.items()):
                if subscriber.tracks_position and fast.get(fd) is subscriber:  # else it changed while the caller paused
                    yield subscriber.user, sent
        for subscriber in list(channel.slow):
            if subscriber.tracks_position and subscriber.transport.drained and subscriber.catching is None:
                yield subscriber.user, subscriber.last

    def sent(self, channel: Channel) -> EventId:
        """The newest event of the channel that all of its subscribers on the fast path have."""
        return self.through if channel.last is None else min(channel.last, self.through)

    def is_shared(self, name: str) -> bool:
        """Whether more than one subscriber here follows the channel."""
        channel = self._channels.get(name)
        return channel is not None and len(channel) > 1

    def prove(self, names: Iterable[str], through: EventId) -> None:
        """Note that these channels' announcements are complete from `through` on."""
        for name in names:
            if name in self._channels:
                self._channels[name].last = through

    def rewind(self, last: EventId) -> None:
        """Go back to `last`, because Redis has lost what came after it."""
        self.through = last
        for channel in self._channels.values():
            if channel.last is not None:
                channel.last = min(channel.last, last)

    def remove_idle(self, left_before: float) -> list[str]:
        """Remove the channels that nobody has followed since this monotonic time, and give their names."""
        idle = [name for name, channel in self._channels.items() if not len(channel) and channel.left_at < left_before]
        for name in idle:
            del self._channels[name]
        return idle
