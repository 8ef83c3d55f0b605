"""Who listens at this worker, and the way from an announcement to each of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import gevent

from pushsvc.concurrency.loops import Loop, TimeSlice
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.catch_up import CatchUp
from pushsvc.delivery.channels import Channel
from pushsvc.delivery.fanout import Run, plan, runs
from pushsvc.delivery.subscriber import Listener, Reason, Subscriber
from pushsvc.delivery.subscribers import LOOK, Connections
from pushsvc.delivery.transports.detached import write_all
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.errors import Unavailable
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.log import Clock, EventLog
from pushsvc.storage.presence import Presence
from pushsvc.storage.redis.listener import Announcement, PubSubListener
from pushsvc.storage.redis.pubsub import PubSub
from pushsvc.storage.redis.scripts import Command

CONFIRM_SECONDS: Final = 5.0  # how long a join waits for Redis to confirm the subscription
LINGER_SECONDS: Final = 5.0  # a channel nobody listens to stays subscribed so long: a page reload costs nothing
TIDY_SECONDS: Final = 0.5


class Hub(PubSubListener):
    """Delivery contract: a subscriber that joined gets every event of its channels after its cursor exactly once,
    ids rising, or is told by a gap event what is gone; or its connection ends, and the next one resumes."""

    def __init__(
        self,
        log: EventLog,
        connections: Connections,
        presence: Presence,
        bus: PubSub,
        *,
        called: Callable[[str], None],
        capacity: Capacity,
    ) -> None:
        """`called` with what another worker has to tell this one."""
        self._called = called
        self.capacity = capacity
        self.connections = connections
        self.bus = bus
        self.loop = Loop("hub", self._tidy, expected=())
        self._presence = presence
        self._channels = connections.channels
        self._unproven: set[str] = set()  # channels confirmed since the last clock
        self._catch_up = CatchUp(
            log, self.bus.request_clock, self._channels.crowded, self._clock_came, connections.recovered, self._failed
        )

    @property
    def losses(self) -> int:
        """How often those who were here have been told of one."""
        return self._catch_up.losses.count

    def join(self, subscriber: Subscriber) -> bool:
        """Count in, subscribe, and wait until Redis confirms: from then on nothing is missed. A subscriber without a
        user (a backend's long poll) is not counted: no cap is for all backends together. True: others have to give way
        to it, see `stand`.

        Raises Unavailable, or TooManyConnections.
        """
        self.capacity.check()
        try:
            self.connections.enter(subscriber)
            over = bool(subscriber.user) and self._presence.count_in(subscriber)
            self.bus.subscribe(subscriber.channels)
            if subscriber.catching is not None and not self._catch_up.sync(subscriber.catching, CONFIRM_SECONDS):
                raise Unavailable("Redis does not confirm the subscription; try again.", retry_after=1)
        except BaseException:
            self.leave(subscriber)
            raise
        return over

    def stand(self, subscriber: Subscriber, *, over: bool) -> None:
        """Nothing can refuse it any more: from now on it is one of its user's streams. `over`: others give way to it,
        unless Redis is away just now."""
        if subscriber.reason is not None or not (subscriber.gives_way or over):
            return  # one that has ended by now, as by a repeat of its request, is nobody's to give way to
        with contextlib.suppress(Unavailable):
            began = self._presence.now()
            if subscriber.gives_way:
                subscriber.began = began
                self._presence.note(subscriber.counted_as, began)
            if over:
                self._presence.oust_for(subscriber.counted_as, began)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber. Harmless when repeated."""
        self.connections.leave(subscriber)

    def listen(self, subscriber: Subscriber, outlet: QueuedTransport, *, detach: bool) -> Iterator[bytes]:
        """What a connection's greenlet sends: the replay, then the live events, in one order. Ends when the
        connection shall end, or, if it is to be detached, when it is live."""
        while True:
            wire, last = outlet.take(wait=subscriber.catching is None and not detach and not outlet.ended)
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

    def _replay(self, subscriber: Subscriber, outlet: QueuedTransport) -> Iterator[bytes]:
        try:
            for page in self._catch_up.pages(subscriber):
                if outlet.ended:
                    return
                with outlet.writing():
                    yield page.wire
                self._written(subscriber, page.cursor)
        except Unavailable:
            with outlet.writing():
                yield subscriber.heartbeat.wire
            self._catch_up.pause()

    def _written(self, subscriber: Subscriber, last: EventId | None) -> None:
        subscriber.sent_at = time.monotonic()
        if last is not None and subscriber.ack:
            self.connections.positions.mark(subscriber.user, last)

    def adopt(self, subscriber: Subscriber, client: Any, *, chunked: bool) -> None:
        """Take over a socket whose greenlet ends: from now on the Hub writes to it, and closes it. If this fails, the
        subscriber is forgotten."""
        try:
            self.connections.adopt(subscriber, client, chunked=chunked)
            if subscriber.catching is not None:
                self._catch_up.enqueue(subscriber)
        except BaseException:
            self.connections.drop(subscriber)
            raise

    # What the PubSub says

    def on_control(self, word: str) -> None:
        self._called(word)

    def on_connect(self) -> None:
        """Whatever was announced since the subscription before was lost."""
        turn = TimeSlice()
        for number, subscriber in enumerate(self.connections.all()):
            self._behind(subscriber)
            if number % LOOK == 0:
                turn.yield_if_over()

    def probe(self) -> tuple[Command, Callable[[Any], None]]:
        return self._catch_up.probe()

    def on_subscribed(self, channel: str) -> None:
        """What was announced in it before may have been missed, and the next clock includes it."""
        entry = self._channels.get(channel)
        if entry is not None:
            entry.last = None
            self._unproven.add(channel)

    def _clock_came(self, clock: Clock) -> None:
        if self._catch_up.losses.found(self._channels.through, self._channels.epoch, clock):
            self._tell_loss(clock)
        self._channels.through, self._channels.epoch = clock.last, clock.epochs.current
        self._channels.prove(self._unproven, clock.last)
        self._unproven.clear()

    def _tell_loss(self, clock: Clock) -> None:
        """Redis has less than it had: what was heard since is of another epoch of the data. Everybody is told."""
        end = clock.epochs.end_of(self._channels.epoch)
        for subscriber in self.connections.all():
            self._behind(subscriber)
            assert subscriber.catching is not None
            lived = subscriber.catching.live_until is not None  # else its cursor is what its client brought
            if lived or subscriber.catching.begun or subscriber.last == BEGINNING or self._catch_up.losses.unclear:
                subscriber.catching.lost = True  # else its cursor tells whether it is to be told
            if lived and end is not None and subscriber.last > end[1]:  # heard from a master that had been replaced:
                subscriber.last = end[0]._replace(seq=end[0].seq + 1)  # between two epochs, where all is lost
        self._channels.rewind(clock.last)

    def on_messages(self, batch: Sequence[Announcement]) -> None:
        """Events arrive: encoded once, sent to all whom they concern."""
        found, torn = runs(batch, self._channels)
        for name, _ in batch:
            self._catch_up.shelf.forget(name)
        turn = TimeSlice()
        for name, known in torn.items():
            for subscriber in self._channels.followers(self._channels[name]):
                self._behind(subscriber, name, known)
                turn.yield_if_over()
        if found:
            self._send(found)
        for run in found:
            if run.last:
                self._finish(run)

    def _finish(self, run: Run) -> None:
        """The answer that its channel carried is over. Who has not had all of it yet ends when they have."""
        turn, broken_off = TimeSlice(), sse.is_broken_off(b"".join([event.wire for event in run.events[-2:]]))
        for subscriber in self._channels.followers(run.channel):
            if isinstance(subscriber, Listener):
                subscriber.told, subscriber.broken_off = True, broken_off
                if subscriber.catching is None:
                    self.connections.guard(subscriber, lambda each: self.connections.end(each, Reason.ENDED))
                turn.yield_if_over()

    def _send(self, found: Sequence[Run]) -> None:
        turn, now = TimeSlice(), time.monotonic()
        sends = plan(found)
        seen = self._channels.unsettled
        for run in found:  # before the first turn of others: who joins from now on has had these, or holds them
            run.channel.sent_at = now
            if run.channel.others:
                self._offer(EncodedBatch.of(run.events), run.channel, now)
        for burst, fds in sends:
            self._write(burst, fds, turn, seen)
        self._channels.through = max(self._channels.through, *(run.events[-1].id for run in found))
        for run in found:
            if not run.answer:
                self.connections.positions.moved(run.channel)

    def _offer(self, burst: EncodedBatch, channel: Channel, now: float) -> None:
        """To those who are treated by themselves."""
        for subscriber in list(channel.others):
            if not subscriber.offer(burst, now):
                self._failed(subscriber, Reason.SLOW)

    def _write(self, burst: EncodedBatch, fds: Sequence[int], turn: TimeSlice, seen: int) -> None:
        """The one loop that runs for each event and connection. `seen`: unsettled when the descriptors were listed."""
        start = 0
        while start < len(fds):
            if seen != self._channels.unsettled:  # a descriptor may have been closed, and be somebody else's by now
                fds, start = [fd for fd in fds[start:] if self.connections.settled(fd)], 0
                seen = self._channels.unsettled
            some = fds[start : start + LOOK]
            sent = write_all(some, burst.chunk)
            if sent.count(len(burst.chunk)) != len(some):
                for fd, size in zip(some, sent, strict=True):
                    if size < len(burst.chunk):
                        self.connections.short(fd, burst.chunk[size:], burst.events[-1].id)
                seen = self._channels.unsettled  # by ourselves, and behind us
            start += LOOK
            turn.yield_if_over()

    def _failed(self, subscriber: Subscriber, reason: Reason) -> None:
        """It found no room, or worse. The log has everything: a greenlet reads on from there, if its client is quick
        enough; without one it is cut, and its client resumes, or reads on too if it could not."""
        if not subscriber.outlet.detached:
            subscriber.fall_behind()
        elif reason is Reason.SLOW and subscriber.stays:
            self._behind(subscriber)
        else:
            self.connections.end(subscriber, reason)

    def _behind(self, subscriber: Subscriber, channel: str | None = None, known: EventId | None = None) -> None:
        self.connections.unsettle(subscriber)
        subscriber.fall_behind(channel, known)
        if subscriber.outlet.detached:
            self._catch_up.enqueue(subscriber)

    def _tidy(self, loop: Loop) -> None:
        while True:
            loop.report_healthy()
            gevent.sleep(TIDY_SECONDS)
            self._catch_up.shelf.evict_old()
            self.bus.unsubscribe(self._channels.let_go(time.monotonic() - LINGER_SECONDS))
            self.bus.request_clock()  # a FLUSHALL breaks no connection: only the clock tells
