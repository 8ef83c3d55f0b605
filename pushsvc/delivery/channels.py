"""The channels that subscribers here follow, and who follows them in which way.

Most connections are alike: live, detached, with nothing waiting. Of these *settled* ones a channel knows just the
descriptors, and sending to them touches no object of theirs: at ten thousand, reading and writing one each would cost
a quarter of what the kernel takes for the send itself. What differs in any way is asked one by one.

A descriptor is closed only once no channel has it: its number is soon somebody else's. So each change here can be
repeated, and `leave` mends whatever an exception left half done.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from pushsvc.delivery.subscriber import Subscriber
from pushsvc.events.event import BEGINNING, EventId

_NOBODY: Final[dict[Subscriber, None]] = {}  # most channels are one settled user's: an empty dict each would add up


class Channel:
    """`last`: the newest event known of; what is announced must follow on it."""

    __slots__ = ("_fds", "last", "left_at", "others", "sent_at", "settled")

    def __init__(self) -> None:
        self.settled: dict[int, Subscriber] = {}
        self.others = _NOBODY
        self.last: EventId | None = None
        self.sent_at = 0.0  # monotonic times
        self.left_at = 0.0
        self._fds: array[int] | None = None

    def __len__(self) -> int:
        return len(self.settled) + len(self.others)

    def note(self, event_id: EventId, prev: EventId) -> bool:
        """An event arrives. False: it is not known to follow on the last, so one may be lost."""
        follows = self.last is not None and prev <= self.last
        self.last = event_id if self.last is None else max(self.last, event_id)
        return follows

    def fds(self) -> array[int]:
        """The settled ones' descriptors; not to be changed."""
        if self._fds is None:
            self._fds = array("i", self.settled)
        return self._fds

    def add(self, subscriber: Subscriber) -> None:
        if self.others is _NOBODY:
            self.others = {}
        self.others[subscriber] = None

    def settle(self, subscriber: Subscriber, fd: int) -> None:
        self._fds = None
        self.settled[fd] = subscriber
        self._forget_other(subscriber)

    def unsettle(self, subscriber: Subscriber, fd: int) -> None:
        self.add(subscriber)
        self._forget_settled(subscriber, fd)

    def remove(self, subscriber: Subscriber, fd: int) -> None:
        """Harmless when repeated."""
        self._forget_settled(subscriber, fd)
        self._forget_other(subscriber)

    def _forget_settled(self, subscriber: Subscriber, fd: int) -> None:
        if self.settled.get(fd) is subscriber:
            self._fds = None
            del self.settled[fd]

    def _forget_other(self, subscriber: Subscriber) -> None:
        self.others.pop(subscriber, None)
        if not self.others:
            self.others = _NOBODY


class Channels:
    """All of them, and `through`: every event up to it that was announced has been sent to the settled. It falls back
    when Redis does."""

    def __init__(self) -> None:
        self.through = BEGINNING
        self.epoch = b""  # of the data, see EpochHistory.current
        self.unsettled = 0  # how often one has been; who shares a turn sees by it whether a descriptor may be stale
        self._channels: dict[str, Channel] = {}

    def __getitem__(self, name: str) -> Channel:
        return self._channels[name]

    def get(self, name: str) -> Channel | None:
        return self._channels.get(name)

    def of(self, subscriber: Subscriber) -> Iterator[Channel]:
        return map(self._channels.__getitem__, subscriber.channels)

    def enter(self, subscriber: Subscriber) -> None:
        for name in subscriber.channels:
            channel = self._channels.get(name)
            if channel is None:
                channel = self._channels[name] = Channel()
            channel.add(subscriber)

    def leave(self, subscriber: Subscriber, fd: int, now: float) -> None:
        """Whatever state it is in. Harmless when repeated. `fd`: its descriptor, negative if it has none."""
        if fd >= 0:
            self.unsettled += 1
        for name in subscriber.channels:
            channel = self._channels.get(name)
            if channel is not None:
                channel.left_at = now
                channel.remove(subscriber, fd)

    def settle(self, subscriber: Subscriber, fd: int) -> None:
        for channel in self.of(subscriber):
            channel.settle(subscriber, fd)

    def unsettle(self, subscriber: Subscriber, fd: int) -> None:
        """From here on its own `last` counts again."""
        self.unsettled += 1
        subscriber.last = max(subscriber.last, self.through)
        for channel in self.of(subscriber):
            channel.unsettle(subscriber, fd)

    @staticmethod
    def followers(channel: Channel) -> list[Subscriber]:
        return [*channel.settled.values(), *channel.others]

    def positions(self, channel: Channel) -> Iterator[tuple[str, EventId]]:
        """Users, and up to where each has had everything, as far as the Hub alone sends to them."""
        settled, sent = channel.settled, self.sent(channel)
        for fd, subscriber in list(settled.items()):
            if subscriber.ack and settled.get(fd) is subscriber:  # still: who asks takes pauses
                yield subscriber.user, sent
        for subscriber in list(channel.others):
            if subscriber.ack and subscriber.outlet.clear and subscriber.catching is None:
                yield subscriber.user, subscriber.last

    def sent(self, channel: Channel) -> EventId:
        """The newest event of the channel that all of its settled subscribers have."""
        return self.through if channel.last is None else min(channel.last, self.through)

    def crowded(self, name: str) -> bool:
        """More than one here follows it."""
        channel = self._channels.get(name)
        return channel is not None and len(channel) > 1

    def prove(self, names: Iterable[str], through: EventId) -> None:
        """These channels' announcements are complete from `through` on."""
        for name in names:
            if name in self._channels:
                self._channels[name].last = through

    def rewind(self, last: EventId) -> None:
        """Redis has lost what came after `last`."""
        self.through = last
        for channel in self._channels.values():
            if channel.last is not None:
                channel.last = min(channel.last, last)

    def let_go(self, left_before: float) -> list[str]:
        """Forget the channels that nobody has followed since."""
        idle = [name for name, channel in self._channels.items() if not len(channel) and channel.left_at < left_before]
        for name in idle:
            del self._channels[name]
        return idle
