"""Who is connected to this worker, and the way from what the Bus hears to each of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import gevent

from pushsvc import sse
from pushsvc.burst import Burst
from pushsvc.bus import Announcement, Bus, Ear
from pushsvc.delivery import Channel, plan, runs
from pushsvc.errors import Unavailable
from pushsvc.event import EventId
from pushsvc.eventlog import Clock, EventLog
from pushsvc.loops import Loop, Turn
from pushsvc.outlet import QueueOutlet
from pushsvc.positions import Positions
from pushsvc.presence import Presence
from pushsvc.recovery import Recovery
from pushsvc.sockets import SocketOutlet, Sockets
from pushsvc.store import Command
from pushsvc.subscriber import Reason, Subscriber

CONFIRM_SECONDS: Final = 5.0  # how long a join waits for Redis to confirm the subscription
LINGER_SECONDS: Final = 5.0  # a channel nobody listens to stays subscribed so long: a page reload costs nothing
TICK_SECONDS: Final = 0.5
LOOK: Final = 64  # connections written to between two looks at the time

_HEARTBEAT: Final = Burst(sse.HEARTBEAT)


class Hub(Ear):
    """Delivery contract: a subscriber that joined gets every event of its channels after its cursor exactly once,
    ids rising, or is told by a gap event what is gone; or its connection ends, and the next one resumes."""

    def __init__(
        self,
        log: EventLog,
        positions: Positions,
        presence: Presence,
        make_bus: Callable[[Ear], Bus],
        *,
        heartbeat_seconds: float,
        retry_seconds: float,
        max_connections: int,
        send_buffer_bytes: int,
    ) -> None:
        self.max_connections = max_connections
        self.draining = False
        self.detaches = False  # set by a server that gives its sockets away
        self.bus = make_bus(self)
        self.loop = Loop("hub wheel", self._turn, expected=())
        self._positions = positions
        self._presence = presence
        self._heartbeat_seconds = heartbeat_seconds
        self._retry_seconds = retry_seconds
        self._channels: dict[str, Channel] = {}
        self._unproven: set[str] = set()  # channels confirmed since the last clock
        self._subscribers: dict[Subscriber, None] = {}
        self._recovery = Recovery(log, self.bus.ask, self._crowded, self._clock_came, self.end)
        self._sockets = Sockets(send_buffer_bytes, lambda subscriber: self.end(subscriber, Reason.GONE), self._flushed)

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._subscribers)

    def retry_ms(self) -> int:
        """A reconnection time for a client, spread so that those who leave together do not come back together."""
        return int(self._retry_seconds * 1000 * random.uniform(0.5, 1.5))

    # Coming and going

    def check_room(self) -> None:
        """Raises Unavailable if this worker takes no more connections. Costs nothing, so it is asked first."""
        if self.draining:
            raise Unavailable("This worker is stopping; connect again.", retry_after=1)
        if len(self._subscribers) >= self.max_connections:
            raise Unavailable("This worker is full; try again later.", retry_after=5)

    def join(self, subscriber: Subscriber) -> None:
        """Count in, subscribe, and wait until Redis confirms: from then on nothing is missed.

        Raises Unavailable, or TooManyConnections.
        """
        self.check_room()
        self._subscribers[subscriber] = None
        subscriber.sent_at = time.monotonic()
        for name in subscriber.channels:
            self._channels.setdefault(name, Channel()).subscribers[subscriber] = None
        try:
            self._presence.enter(subscriber.user)
        except BaseException:
            self._forget(subscriber)
            raise
        try:
            self.bus.want(subscriber.channels)
            if subscriber.catching is not None and not self._recovery.sync(subscriber.catching, CONFIRM_SECONDS):
                raise Unavailable("Redis does not confirm the subscription; try again.", retry_after=1)
        except BaseException:
            self.leave(subscriber)
            raise

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber. Harmless when repeated."""
        if subscriber in self._subscribers:
            self._forget(subscriber)
            self._presence.leave(subscriber.user)

    def _forget(self, subscriber: Subscriber) -> None:
        del self._subscribers[subscriber]
        now = time.monotonic()
        for name in subscriber.channels:
            channel = self._channels[name]
            del channel.subscribers[subscriber]
            channel.left_at = now

    def end(self, subscriber: Subscriber, reason: Reason) -> None:
        """Let a connection go: told when to come back, or cut. Harmless when repeated."""
        if subscriber.reason is not None:
            return
        subscriber.reason = reason
        outlet = subscriber.outlet
        if reason in (Reason.DRAINING, Reason.EXPIRED):
            if not outlet.end(sse.retry(self.retry_ms())):
                return  # when what waits there is out, it is closed
        elif not outlet.detached:
            outlet.cut()
        if outlet.detached:
            self._close(subscriber)

    def _close(self, subscriber: Subscriber) -> None:
        """Nobody else would: it is detached."""
        if subscriber.ack and subscriber.outlet.clear and subscriber.catching is None and self._owes(subscriber):
            self._positions.mark(subscriber.user, subscriber.last)
        subscriber.outlet.cut()
        self.leave(subscriber)

    def _owes(self, subscriber: Subscriber) -> bool:
        return any(self._positions.owes(self._channels[name]) for name in subscriber.channels)

    # A connection with a greenlet, and without

    def listen(self, subscriber: Subscriber, outlet: QueueOutlet, *, detach: bool) -> Iterator[bytes]:
        """What a connection's greenlet sends: the replay, then the live events, in one order. Ends when the
        connection shall end, or, if it is to be detached, when it is live."""
        while True:
            wire, last = outlet.take(wait=subscriber.catching is None and not detach)
            if wire:
                with outlet.writing():
                    yield wire
                self._written(subscriber, last)
            elif outlet.ended:
                return
            elif subscriber.catching is not None:  # the outlet is empty, so what is read now follows on what was sent
                yield from self._replay(subscriber, outlet)
            elif detach:
                return

    def _replay(self, subscriber: Subscriber, outlet: QueueOutlet) -> Iterator[bytes]:
        try:
            for page in self._recovery.pages(subscriber):
                with outlet.writing():
                    yield page.wire
                self._written(subscriber, page.cursor)
        except Unavailable:
            yield sse.HEARTBEAT
            self._recovery.pause()

    def _written(self, subscriber: Subscriber, last: EventId | None) -> None:
        subscriber.sent_at = time.monotonic()
        if last is not None and subscriber.ack:
            self._positions.mark(subscriber.user, last)

    def adopt(self, subscriber: Subscriber, fd: int, *, chunked: bool, spoke: bool) -> None:
        """Take over a socket whose greenlet ends: from now on the Hub writes to it, and closes it. A client that
        `spoke` after its request is not one that listens."""
        queue, outlet = subscriber.outlet, SocketOutlet(fd, self._sockets, chunked=chunked)
        assert isinstance(queue, QueueOutlet)
        subscriber.outlet = outlet
        self._sockets.add(fd, subscriber)
        wire, last = queue.take(wait=False)
        if wire:
            outlet.send(Burst(wire, last))
            self._flushed(subscriber)
        if spoke:
            self.end(subscriber, Reason.GONE)
        elif subscriber.reason is not None:
            if outlet.end(b""):
                self._close(subscriber)
        elif subscriber.catching is not None:
            self._recovery.heal(subscriber)

    def _flushed(self, subscriber: Subscriber) -> None:
        """What waited for a detached connection is out."""
        if subscriber.reason is not None:
            self._close(subscriber)
        elif subscriber.ack and subscriber.outlet.clear and subscriber.catching is None:
            self._positions.mark(subscriber.user, subscriber.last)

    # What the Bus says

    def probe(self) -> tuple[Command, Callable[[Any], None]]:
        return self._recovery.probe()

    def confirmed(self, channel: str) -> None:
        """A subscription begins, for the first time or again: what was announced before may have been missed."""
        entry = self._channels.get(channel)
        if entry is not None:
            entry.last = None
            self._unproven.add(channel)
            self._all_behind(channel, entry)

    def _clock_came(self, clock: Clock) -> None:
        for name in self._unproven & self._channels.keys():
            self._channels[name].last = clock.last
        self._unproven.clear()

    def announced(self, batch: Sequence[Announcement]) -> None:
        """Events arrive: encoded once, offered to all."""
        found, torn = runs(batch, self._channels)
        for name, _ in batch:
            self._recovery.shelf.forget(name)
        for name in torn:
            self._all_behind(name, self._channels[name])
        turn = Turn()
        for burst, crowd in plan(found):
            self._deliver(burst, crowd, turn)
        for run in found:
            self._positions.moved(run.channel)

    def _deliver(self, burst: Burst, crowd: Sequence[Subscriber], turn: Turn) -> None:
        """The one loop that runs for each event and connection."""
        first, last, now = burst.events[0].id, burst.events[-1].id, time.monotonic()
        for start in range(0, len(crowd), LOOK):
            for subscriber in crowd[start : start + LOOK]:
                if subscriber.catching is None and subscriber.last < first and subscriber.reason is None:
                    if subscriber.outlet.send(burst):
                        subscriber.last = last
                        subscriber.sent_at = now
                    else:
                        self._overflowed(subscriber)
                elif not subscriber.offer(burst, now):
                    self._overflowed(subscriber)
            turn.share()

    def _overflowed(self, subscriber: Subscriber) -> None:
        """The log has what found no room: a greenlet reads on from there, if its client is quick enough."""
        if subscriber.outlet.detached:
            self.end(subscriber, Reason.SLOW)
        else:
            subscriber.fall_behind()

    def _all_behind(self, name: str, channel: Channel) -> None:
        self._recovery.shelf.forget(name)
        for subscriber in channel.subscribers:
            subscriber.fall_behind()
            if subscriber.outlet.detached:
                self._recovery.heal(subscriber)

    def _crowded(self, name: str) -> bool:
        return len(self._channels[name].subscribers) > 1

    # Time

    def _turn(self, loop: Loop) -> None:
        """One wheel for all connections: heartbeats to the silent, an end to the expired and the slow."""
        while True:
            loop.well()
            gevent.sleep(min(TICK_SECONDS, self._heartbeat_seconds / 2))
            turn = Turn()
            for number, subscriber in enumerate(list(self._subscribers)):
                self._look(subscriber, time.monotonic(), time.time())
                if number % LOOK == 0:
                    turn.share()
            self._recovery.shelf.tidy()
            self._let_go(time.monotonic() - LINGER_SECONDS)

    def _look(self, subscriber: Subscriber, now: float, wall: float) -> None:
        outlet = subscriber.outlet
        if outlet.stuck(now):
            self._give_up(subscriber)
        elif subscriber.reason is not None:
            return
        elif subscriber.expires is not None and subscriber.expires <= wall:
            self.end(subscriber, Reason.EXPIRED)
        elif now - subscriber.sent_at >= self._heartbeat_seconds and self._nothing_on_its_way(subscriber):
            subscriber.sent_at = now
            outlet.send(_HEARTBEAT)

    @staticmethod
    def _nothing_on_its_way(subscriber: Subscriber) -> bool:
        return subscriber.outlet.clear if subscriber.outlet.detached else subscriber.catching is None

    def _give_up(self, subscriber: Subscriber) -> None:
        """Its hanging write, or the wait for its last bytes, would hold the connection for ever."""
        subscriber.reason = subscriber.reason or Reason.SLOW
        if subscriber.outlet.detached:
            self._close(subscriber)
        else:
            subscriber.outlet.cut()

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
            self.end(subscriber, Reason.DRAINING)
            gevent.sleep(seconds / len(subscribers))
