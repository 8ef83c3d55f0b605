"""The entrance to the delivery of a partition: subscribers join the Hub, may go on without a greenlet, and leave."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import gevent

from pushsvc.concurrency.loops import Loop
from pushsvc.config import Settings
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.catch_up import CatchUp
from pushsvc.delivery.channels import Channels
from pushsvc.delivery.fanout import Broadcaster
from pushsvc.delivery.lifetimes import Lifetimes
from pushsvc.delivery.positions import Positions
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.subscribers import Subscribers
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.errors import Unavailable
from pushsvc.events.event import EventId
from pushsvc.storage.counts.presence import Presence
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.subscription.listener import ControlListener
from pushsvc.storage.redis.subscription.pubsub import PubSub

CONFIRM_SECONDS: Final = 5.0  # how long a join waits for Redis to confirm the subscription
LINGER_SECONDS: Final = 5.0  # how long a channel without followers stays subscribed, so that a page reload is cheap
TIDY_SECONDS: Final = 0.5
_TOLD: Final = ("user:", "topic:")  # the channels of which hooks are told


class Hub:
    """Delivers the events of a partition to its subscribers.

    The contract: a subscriber that has joined gets every event of its channels after its cursor exactly once, with
    rising ids. If events are gone, a gap event says so. If delivery fails, the connection ends, and the client's next
    one resumes.

    The Hub makes the parts of the delivery. PubSub gives announcements to the Broadcaster, and all other news of the
    subscription to CatchUp; both end connections through Lifetimes.
    """

    def __init__(self, log: EventLog, presence: Presence, bus: PubSub, capacity: Capacity, settings: Settings) -> None:
        self.bus = bus
        self.capacity = capacity
        self._presence = presence
        self._channels = Channels()
        self.positions = Positions(log, self._channels)
        self.subscribers = Subscribers(self._channels, presence, settings.heartbeat_seconds)
        self.lifetimes = Lifetimes(self.subscribers, self.positions, settings)
        self.catch_up = CatchUp(log, bus, self.lifetimes)
        self.broadcaster = Broadcaster(self.catch_up, self.lifetimes, self.positions)
        self.newcomers: set[str] | None = None  # whom hooks are to know, where the Register takes them from here
        self.loops = (Loop("hub", self._tidy, expected=()), self.lifetimes.loop, self.positions.loop)

    def start(self, control: ControlListener) -> None:
        """Subscribe, and start the background loops. `control` gets other workers' messages. Harmless when repeated."""
        self.bus.start(self.catch_up, self.broadcaster, control)
        for loop in self.loops:
            loop.start()

    def stop(self) -> None:
        """End the loops and the subscription."""
        for loop in self.loops:
            loop.stop()
        self.bus.stop()

    @property
    def losses(self) -> int:
        """The number of times that connected subscribers were told of a loss."""
        return self.catch_up.losses.count

    def join(self, subscriber: Subscriber) -> bool:
        """Count the subscriber, subscribe to its channels, and wait until Redis confirms: from then on no event is
        missed. A subscriber without a user (a backend's long poll) is not counted, as the limit is one of each user.
        True: older streams of the user must end for this one, see `stand`.

        Raises Unavailable, or TooManyConnections.
        """
        self.capacity.check()
        try:
            self.subscribers.add(subscriber)
            counted_in = self._presence.begin_count_in(subscriber) if subscriber.user else _not_counted
            self.bus.subscribe(subscriber.channels)
            if subscriber.catching is None:
                return counted_in()
            with self.catch_up.asked(subscriber.catching) as came:  # one wait for both answers of Redis
                over = counted_in()
                if not came.wait(CONFIRM_SECONDS):
                    raise Unavailable("Redis does not confirm the subscription; try again.", retry_after=1)
            return over
        except BaseException:
            self.leave(subscriber)
            raise

    def stand(self, subscriber: Subscriber, *, over: bool) -> None:
        """Note that the subscriber can no longer be refused: from now on it is one of its user's streams. `over`: end
        the user's oldest streams, unless Redis is away just now."""
        self._note(subscriber.channels)
        if subscriber.reason is not None or not (subscriber.gives_way or over):
            return  # no other stream ends for one that has itself ended by now, as by a repeat of its request
        with contextlib.suppress(Unavailable):
            began = self._presence.now()
            if subscriber.gives_way:
                subscriber.began = began
                self._presence.note(subscriber.counted_as, began)
            if over:
                self._presence.oust_for(subscriber.counted_as, began)

    def _note(self, channels: Sequence[str]) -> None:
        if self.newcomers is not None:
            self.newcomers.update(name for name in channels if name.startswith(_TOLD))

    def change_channels(self, subscriber: Subscriber, channels: Sequence[str]) -> None:
        """Have a subscriber that has joined follow these channels, and no others. Of a new one it gets the events after
        its cursor, as if it came back with that. Does nothing to one that has left."""
        self._channels.settle()
        if subscriber not in self.subscribers:
            return
        new = [name for name in channels if name not in subscriber.channels]
        self.subscribers.change_channels(subscriber, channels)
        self._note(new)
        if subscriber.catching is None:  # whatever was announced is sent, so that a topic does not begin long ago
            subscriber.last = max(subscriber.last, self._channels.through)
        self.bus.subscribe(new)
        if new or subscriber.catching is not None:  # what is held may be of a channel that it has left
            self.catch_up.fall_behind(subscriber)
            assert subscriber.catching is not None
            subscriber.catching.new_channels = (*subscriber.catching.new_channels, *new)

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a subscriber. Harmless when repeated."""
        self.subscribers.remove(subscriber)

    def listen(self, subscriber: Subscriber, transport: QueuedTransport, *, detach: bool) -> Iterator[bytes]:
        """Yield the bytes that a connection's greenlet sends: first the replay, then the live events. Ends when the
        connection is to end, or, with `detach`, as soon as the subscriber is live."""
        while True:
            wire, last = transport.take(wait=subscriber.catching is None and not detach and not transport.ended)
            if wire:
                with transport.writing():
                    yield wire
                self._written(subscriber, last)
            elif transport.ended:
                return
            elif subscriber.catching is not None:  # the queue is empty, so the log is read from after what was sent
                yield from self._replay(subscriber, transport)
            elif detach:
                return

    def _replay(self, subscriber: Subscriber, transport: QueuedTransport) -> Iterator[bytes]:
        try:
            for page in self.catch_up.pages(subscriber):
                if transport.ended:
                    return
                with transport.writing():
                    yield page.wire
                self._written(subscriber, page.cursor)
        except Unavailable:
            with transport.writing():
                yield subscriber.heartbeat.wire
            self.catch_up.pause()

    def _written(self, subscriber: Subscriber, last: EventId | None) -> None:
        subscriber.sent_at = time.monotonic()
        if last is not None and subscriber.tracks_position:
            self.positions.mark(subscriber.user, last)

    def adopt(self, subscriber: Subscriber, client: Any, *, chunked: bool) -> None:
        """Take over a socket whose greenlet ends: from now on the Hub writes to it, and closes it. If this fails, the
        connection is cut."""
        try:
            self.lifetimes.adopt(subscriber, client, chunked=chunked)
            if subscriber.catching is not None:
                self.catch_up.enqueue(subscriber)
        except BaseException:
            self.subscribers.drop(subscriber)
            raise

    def _tidy(self, loop: Loop) -> None:
        while True:
            loop.report_healthy()
            gevent.sleep(TIDY_SECONDS)
            self.catch_up.read_cache.evict_old()
            self.bus.unsubscribe(self._channels.remove_idle(time.monotonic() - LINGER_SECONDS))
            self.bus.request_clock()  # a FLUSHALL breaks no connection, so only a clock can reveal it


def _not_counted() -> bool:
    return False
