"""Who is connected to this worker. Takes what the Bus hears to the subscribers, and brings them up to date."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Final

import gevent
import gevent.event

from pushsvc import sse
from pushsvc.bus import Bus, Ear
from pushsvc.errors import Unavailable
from pushsvc.event import EventId
from pushsvc.eventlog import EventLog
from pushsvc.loops import Loop
from pushsvc.outlet import QueueOutlet
from pushsvc.positions import Positions
from pushsvc.replay import Replay
from pushsvc.subscriber import Reason, Subscriber

CONFIRM_SECONDS: Final = 5.0  # how long a join waits for Redis to confirm the subscription
LINGER_SECONDS: Final = 5.0  # a channel nobody listens to stays subscribed so long: a page reload costs nothing
SLOW_SECONDS: Final = 2.0  # one write may take so long while events find no room
TICK_SECONDS: Final = 0.5


class _Channel:
    """A channel some subscriber follows. `last`: the newest event known of; what is announced must follow on it."""

    __slots__ = ("confirmed", "last", "left_at", "subscribers")

    def __init__(self) -> None:
        self.subscribers: dict[Subscriber, None] = {}
        self.confirmed = gevent.event.Event()
        self.last: EventId | None = None
        self.left_at = 0.0


class Hub(Ear):
    """Delivery contract: a subscriber that joined gets every event of its channels after its cursor exactly once,
    ids rising, or is told by a gap event what is gone; or its connection ends, and the next one resumes."""

    def __init__(
        self,
        log: EventLog,
        positions: Positions,
        make_bus: Callable[[Ear], Bus],
        *,
        heartbeat_seconds: float,
        retry_seconds: float,
        max_connections: int,
    ) -> None:
        self._log = log
        self._positions = positions
        self._heartbeat_seconds = heartbeat_seconds
        self._retry_seconds = retry_seconds
        self._max_connections = max_connections
        self._channels: dict[str, _Channel] = {}
        self._subscribers: dict[Subscriber, None] = {}
        self.draining = False
        self.bus = make_bus(self)
        self.loop = Loop("hub wheel", self._turn, expected=())

    def retry_ms(self) -> int:
        """A reconnection time for a client, spread so that those who leave together do not come back together."""
        return int(self._retry_seconds * 1000 * random.uniform(0.5, 1.5))

    def check_room(self) -> None:
        """Raises Unavailable if this worker takes no more connections. Costs nothing, so it is asked first."""
        if self.draining:
            raise Unavailable("This worker is stopping; connect again.", retry_after=1)
        if len(self._subscribers) >= self._max_connections:
            raise Unavailable("This worker is full; try again later.", retry_after=5)

    def join(self, subscriber: Subscriber) -> None:
        """Subscribe and wait until Redis confirms: from then on nothing is missed. Raises Unavailable."""
        self.check_room()
        self._subscribers[subscriber] = None
        subscriber.sent_at = time.monotonic()
        for name in subscriber.channels:
            self._channels.setdefault(name, _Channel()).subscribers[subscriber] = None
        self.bus.want(subscriber.channels)
        deadline = time.monotonic() + CONFIRM_SECONDS
        for name in subscriber.channels:
            if not self._channels[name].confirmed.wait(max(0.0, deadline - time.monotonic())):
                self.leave(subscriber)
                raise Unavailable("Redis does not confirm the subscription; try again.", retry_after=1)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber. Harmless when repeated."""
        if subscriber not in self._subscribers:
            return
        del self._subscribers[subscriber]
        for name in subscriber.channels:
            channel = self._channels[name]
            del channel.subscribers[subscriber]
            channel.left_at = time.monotonic()

    def listen(self, subscriber: Subscriber, outlet: QueueOutlet) -> Iterator[bytes]:
        """What the connection sends, for as long as it lasts: the replay, then the live events, in one order."""
        while subscriber.reason is None:
            wire, last = outlet.take(wait=subscriber.live)
            if wire:
                yield from self._write(subscriber, wire, last)
            elif not subscriber.live:  # the outlet is empty, so what is read now follows on what was sent
                yield from self._catch_up(subscriber)
        if subscriber.reason in (Reason.DRAINING, Reason.EXPIRED):
            wire, last = outlet.take(wait=False)
            yield from self._write(subscriber, wire + sse.retry(self.retry_ms()), last)

    def _catch_up(self, subscriber: Subscriber) -> Iterator[bytes]:
        """Everything in the log after the subscriber's last event; ends with the subscriber live, or due again."""
        try:
            subscriber.begin_replay()
            replay = Replay(self._log, subscriber.channels, subscriber.last, subscriber.unasked)
            for page in replay.pages():
                yield from self._write(subscriber, page.wire, page.cursor)
                subscriber.last = page.cursor or subscriber.last
        except Unavailable:
            subscriber.stale = True
            yield sse.HEARTBEAT
            gevent.sleep(random.uniform(0.2, 1.0))  # spreads the reads of all who wait for Redis
            return
        for name in subscriber.channels:
            channel = self._channels[name]
            if channel.last is None:  # else what is announced is a chain by itself, and must not skip a link
                channel.last = replay.through
        subscriber.end_replay(replay.through)

    def _write(self, subscriber: Subscriber, wire: bytes, cursor: EventId | None) -> Iterator[bytes]:
        """Hand bytes to the server, which comes back when the kernel has them all; then the user has had `cursor`."""
        subscriber.writing_since = time.monotonic()
        yield wire
        subscriber.writing_since = None
        subscriber.pressed = False
        subscriber.sent_at = time.monotonic()
        if cursor is not None and subscriber.ack:
            self._positions.mark(subscriber.user, cursor)

    def confirmed(self, channel: str) -> None:
        """A subscription begins, for the first time or again: what was announced before may have been missed."""
        entry = self._channels.get(channel)
        if entry is None:
            return
        entry.last = None
        entry.confirmed.set()
        for subscriber in entry.subscribers:
            subscriber.fall_behind()

    def announced(self, channel: str, payload: bytes) -> None:
        """An event arrives: encoded once, offered to all. If it is not known to follow on the last, one may be lost."""
        entry = self._channels.get(channel)
        if entry is None:
            return
        raw_id, raw_prev, frame = payload.split(b" ", 2)
        event_id = EventId.from_redis(raw_id)
        if entry.last is None or EventId.from_redis(raw_prev) > entry.last:
            for subscriber in entry.subscribers:
                subscriber.fall_behind()
        else:
            wire = sse.with_id(raw_id, frame)
            for subscriber in entry.subscribers:
                subscriber.offer(event_id, wire)
        entry.last = event_id if entry.last is None else max(entry.last, event_id)

    def _turn(self, loop: Loop) -> None:
        """One wheel for all connections: heartbeats to the silent, an end to the expired and the slow."""
        while True:
            loop.well()
            gevent.sleep(min(TICK_SECONDS, self._heartbeat_seconds / 2))
            now, wall = time.monotonic(), time.time()
            for subscriber in list(self._subscribers):
                if subscriber.expires is not None and subscriber.expires <= wall:
                    subscriber.close(Reason.EXPIRED)
                if now - (subscriber.writing_since or now) > SLOW_SECONDS and (subscriber.pressed or subscriber.reason):
                    subscriber.close(Reason.SLOW)
                    subscriber.outlet.cut()  # else the hanging write would hold the connection for ever
                elif now - subscriber.sent_at >= self._heartbeat_seconds and subscriber.live:
                    subscriber.sent_at = now
                    subscriber.outlet.send(sse.HEARTBEAT, None)
            self._let_go(now - LINGER_SECONDS)

    def _let_go(self, left_before: float) -> None:
        idle = [name for name, entry in self._channels.items() if not entry.subscribers and entry.left_at < left_before]
        for name in idle:
            del self._channels[name]
        self.bus.drop(idle)

    def drain(self, seconds: float) -> None:
        """Let all connections go, spread evenly over `seconds`; each is told when to come back."""
        self.draining = True
        subscribers = list(self._subscribers)
        random.shuffle(subscribers)
        for subscriber in subscribers:
            subscriber.close(Reason.DRAINING)
            gevent.sleep(seconds / len(subscribers))
