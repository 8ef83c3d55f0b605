"""Brings subscribers up to date by reading the log: after every join, when a reader falls behind, and when an
announcement was lost. A clock from the subscription says up to where to read; later announcements are held
meanwhile."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import gevent.event

from pushsvc.concurrency.loops import TimeSlice
from pushsvc.concurrency.shares import OWNER
from pushsvc.concurrency.turns import Turns
from pushsvc.delivery import trails
from pushsvc.delivery.endings import Reason, channel_end
from pushsvc.delivery.lifetimes import Lifetimes
from pushsvc.delivery.reading.read_cache import ReadCache
from pushsvc.delivery.reading.replay import Backfill, Page, Replay
from pushsvc.delivery.subscriber import CatchUpState, Subscriber
from pushsvc.delivery.subscribers import LOOK
from pushsvc.delivery.transports.detached import DetachedSocket
from pushsvc.errors import Unavailable
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.log import EventLog
from pushsvc.storage.losses import Losses
from pushsvc.storage.redis.scripts import Command
from pushsvc.storage.redis.subscription.pubsub import PubSub

logger = logging.getLogger(__name__)

SYNC_SECONDS: Final = 1.0  # how long a subscriber waits for a clock; without one its client gets a heartbeat
MOST_WAITING: Final = 500  # subscribers that get one clock, as each may need a look-up with it
LARGE_REPLAYS: Final = 4  # at the same time, of different users: each may hold some megabytes
WORKERS: Final = 32  # detached subscribers that catch up at the same time; bounds the memory that they take


class CatchUp:
    """Brings subscribers up to date: each in its own greenlet, or, if it is detached, in one of a few shared ones.

    It is the SubscriptionListener: new connections, confirmed channels and clocks tell it what may have been
    missed.
    """

    def __init__(self, log: EventLog, bus: PubSub, lifetimes: Lifetimes) -> None:
        self._log = log
        self._bus = bus
        self._lifetimes = lifetimes
        self._subscribers = lifetimes.subscribers
        self._channels = lifetimes.subscribers.channels
        self.losses = Losses(log, bus)
        self.read_cache = ReadCache(log, self._channels, time.monotonic)
        self._unproven: set[str] = set()  # channels confirmed since the last clock
        self._waiting: dict[CatchUpState, gevent.event.Event] = {}  # for the next clock
        self._last = BEGINNING  # `last` of the last clock
        self._queue: deque[Subscriber] = deque()  # detached, and behind
        self._enqueued: set[Subscriber] = set()  # those in the queue, and those that a worker greenlet is busy with
        self._workers = 0
        self._turns = Turns(LARGE_REPLAYS)

    def on_connect(self) -> None:
        """Have all subscribers read the log: announcements may have been lost while there was no connection."""
        turn = TimeSlice()
        for number, subscriber in enumerate(self._subscribers.all()):
            self.fall_behind(subscriber)
            if number % LOOK == 0:
                turn.yield_if_over()

    def on_subscribed(self, channel: str) -> None:
        """Note that earlier announcements in the channel may have been missed; the next clock includes them."""
        entry = self._channels.get(channel)
        if entry is not None:
            entry.last = None
            self._unproven.add(channel)

    def probe(self) -> tuple[Command, Callable[[Any], None]]:
        """Give the command that reads the clock, and the function that takes its answer. All subscribers that wait for
        a clock at this moment get this one."""
        waiting, cached = list(islice(self._waiting, MOST_WAITING)), self.read_cache.channels()
        origins = [each.origin for each in waiting if each.origin is not None and each.origin.start is None]
        self.losses.probe_leaves()

        def answered(answer: Any) -> None:
            clock, tails, standings = self._log.probed(answer, len(cached))
            if clock.last == self._last:  # thousands of idle subscribers keep this id: share one object
                clock = clock._replace(last=self._last)
            self._last = clock.last
            self.read_cache.validate(clock, dict(zip(cached, tails, strict=True)))
            self._clock_came(clock)
            clock = self._log.with_known_losses(clock)
            for origin, standing in zip(origins, standings, strict=True):
                origin.choose(clock, standing, unclear=self.losses.unclear)
            for catching in waiting:
                if (came := self._waiting.pop(catching, None)) is not None:
                    catching.clock = clock
                    came.set()
            if self._waiting:
                self._bus.request_clock()

        return self._log.probe(cached, [origin.user for origin in origins]), answered

    def _clock_came(self, clock: Clock) -> None:
        channels = self._channels
        if self.losses.found(channels.through, channels.epoch, clock):
            self._tell_loss(clock)
        channels.through, channels.epoch = clock.last, clock.epochs.current
        channels.prove(self._unproven, clock.last)
        self._unproven.clear()

    def _tell_loss(self, clock: Clock) -> None:
        """Have all subscribers read the log because Redis has lost events: a new epoch of the data has begun. Those
        that may have missed events are told of the loss."""
        end = clock.epochs.end_of(self._channels.epoch)
        for subscriber in self._subscribers.all():
            self.fall_behind(subscriber)
            assert subscriber.catching is not None
            lived = subscriber.catching.live_until is not None  # else its cursor is the one that its client sent
            if lived or subscriber.catching.begun or subscriber.last == BEGINNING or self.losses.unclear:
                subscriber.catching.lost = True  # else its cursor shows whether to report the loss
            if lived and end is not None and subscriber.last > end[1]:  # it had events of a master that was replaced:
                subscriber.last = end[0]._replace(seq=end[0].seq + 1)  # a place between the epochs, where all is lost
        self._channels.rewind(clock.last)

    def fall_behind(self, subscriber: Subscriber, channel: str | None = None, known: EventId | None = None) -> None:
        """Have a subscriber read the log. `channel`, `known`: see Subscriber.fall_behind."""
        self._subscribers.to_slow_path(subscriber)
        subscriber.fall_behind(channel, known)
        if subscriber.transport.detached:
            self.enqueue(subscriber)

    def fail(self, subscriber: Subscriber, reason: Reason) -> None:
        """Handle a subscriber whose transport has no room, or is broken. With a greenlet, it reads on from the log. A
        detached one is cut, and its client resumes; but a slow client that cannot resume reads on from the log, too."""
        if not subscriber.transport.detached:
            subscriber.fall_behind()
        elif reason is Reason.SLOW and not subscriber.kind.returns:
            self.fall_behind(subscriber)
        else:
            self._lifetimes.end(subscriber, reason)

    def sync(self, catching: CatchUpState, seconds: float) -> bool:
        """Wait for a clock. False: none came in time. True does not mean that `catching.clock` is set: an announcement
        that could not be held may have dropped it already."""
        with self.asked(catching) as came:
            return bool(came.wait(seconds))

    @contextlib.contextmanager
    def asked(self, catching: CatchUpState) -> Iterator[gevent.event.Event]:
        """Ask for a clock, and give the event that is set when it has come."""
        came = self._waiting[catching] = gevent.event.Event()
        self._bus.request_clock()
        try:
            yield came
        finally:
            self._waiting.pop(catching, None)

    def pages(self, subscriber: Subscriber) -> Iterator[Page]:
        """Yield the pages with all events after the subscriber's last. A page counts as written when the next is asked
        for. At the end the subscriber is live, or must catch up again. Raises Unavailable."""
        for page in self._pages(subscriber):
            yield page.framed() if subscriber.kind.framed else page.proven(subscriber.proof)
            trails.delivered_late(subscriber, page.entries)

    def _pages(self, subscriber: Subscriber) -> Iterator[Page]:
        catching = subscriber.catching
        assert catching is not None
        if catching.clock is None and not self.sync(catching, SYNC_SECONDS):
            raise Unavailable("Redis does not say where the log stands; try again.", retry_after=1)
        if catching.clock is None:
            return
        sent, catching.begun = False, True
        replay = self._replay(subscriber, catching, catching.clock)
        client_cursor = subscriber.last
        try:
            for page in replay.pages():
                yield page
                client_cursor = page.cursor or client_cursor
                if catching.clock is not None:  # else there may be another loss meanwhile
                    catching.lost = False  # the client was told, or the loss lies before what is still to be read
                subscriber.last, sent = page.cursor or subscriber.last, True
                if subscriber.kind.finite and page.wire.endswith(sse.DONE):
                    subscriber.channel_end = channel_end(page.wire)
        except Unavailable:
            catching.restart()  # the replay may have gone past this clock
            raise
        joined, stood = catching.live_until is None, client_cursor >= replay.through
        if joined and not stood and subscriber.kind.reads_cursor and subscriber.channel_end is None:
            yield Page(sse.cursor(replay.through), None)  # so that the client resumes from where it goes live
        sent = sent or bool(catching.held)
        if subscriber.caught_up(replay.through, time.monotonic()):
            self._lifetimes.caught_up(subscriber, sent=sent)
        else:
            self.fail(subscriber, Reason.SLOW)

    def _replay(self, subscriber: Subscriber, catching: CatchUpState, clock: Clock) -> Replay:
        waiting = self._waiting_greenlet if subscriber.transport.detached else contextlib.nullcontext
        backfill = None if catching.live_until is None else Backfill(catching.backfill, catching.live_until)
        return Replay(
            self.read_cache, subscriber.channels, subscriber.last, catching.new_channels, clock, backfill,
            lost=catching.lost, cursors=subscriber.kind.reads_cursor, turn=self._turns.of(subscriber.user, waiting),
        )  # fmt: skip

    @staticmethod
    def pause() -> None:
        """Wait for a random time, to spread the reads of all that wait for Redis."""
        gevent.sleep(random.uniform(0.2, 1.0))

    def enqueue(self, subscriber: Subscriber) -> None:
        """Queue a detached subscriber to be brought up to date. Harmless when repeated."""
        if subscriber in self._enqueued:
            return  # a greenlet works on it, and will see that it must go on
        self._queue.append(subscriber)
        self._enqueued.add(subscriber)
        self._add_worker()

    def _add_worker(self) -> None:
        if self._queue and self._workers < WORKERS:
            gevent.spawn(self._work)  # it begins later
            self._workers += 1

    def _work(self) -> None:
        try:
            while self._queue:
                subscriber = self._queue.popleft()
                OWNER.set(f"user:{subscriber.user}")
                try:
                    while subscriber.catching is not None and subscriber.reason is None:
                        self._try(subscriber)
                except Exception:
                    logger.exception("a connection could not be brought up to date, and is cut; it will resume")
                    self.fail(subscriber, Reason.BROKEN)
                finally:
                    self._enqueued.discard(subscriber)
        finally:
            self._workers -= 1

    def _try(self, subscriber: Subscriber) -> None:
        transport = subscriber.transport
        assert isinstance(transport, DetachedSocket)
        try:
            for page in self.pages(subscriber):
                sent = self._drained(subscriber, transport) and transport.send(EncodedBatch(page.wire, page.cursor))
                if not (sent and self._drained(subscriber, transport)):
                    self.fail(subscriber, Reason.STUCK)
                    return
        except Unavailable:
            self.pause()

    def _drained(self, subscriber: Subscriber, transport: DetachedSocket) -> bool:
        """Wait for a slow client; meanwhile another greenlet goes on with the queue. False: the client did not read, or
        the connection is closed."""
        if transport.drained:
            return transport.fd >= 0
        with self._waiting_greenlet():
            return transport.drain(subscriber.kind.patience_seconds)

    @contextlib.contextmanager
    def _waiting_greenlet(self) -> Iterator[None]:
        """Mark one of the shared greenlets as waiting, so that another one works meanwhile."""
        self._workers -= 1
        self._add_worker()
        try:
            yield
        finally:
            self._workers += 1
