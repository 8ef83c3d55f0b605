"""The one way to be up to date: every join, every reader that fell behind and every lost announcement goes through
here. A clock from the subscription says up to where to read; what is announced after it is held meanwhile."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import gevent
import gevent.event

from pushsvc.delivery.read_cache import ReadCache
from pushsvc.delivery.replay import Late, Page, Replay
from pushsvc.delivery.subscriber import CatchUpState, Listener, Reason, Subscriber
from pushsvc.delivery.transports.detached import DetachedSocket
from pushsvc.errors import Unavailable
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import BEGINNING
from pushsvc.events.proof import with_proof
from pushsvc.storage.log import Clock, EventLog
from pushsvc.storage.losses import Losses
from pushsvc.storage.redis.scripts import Command

logger = logging.getLogger(__name__)

SYNC_SECONDS: Final = 1.0  # how long one that has joined waits for a clock before it says that it still lives
WORKERS: Final = 32  # detached subscribers that catch up at the same time: bounds what they read and hold


class CatchUp:
    """Brings subscribers up to date, each in its own greenlet, or if it has none in one of a few shared ones."""

    def __init__(
        self,
        log: EventLog,
        ask: Callable[[], None],
        crowded: Callable[[str], bool],
        clock_came: Callable[[Clock], None],
        recovered: Callable[[Subscriber, bool], None],
        failed: Callable[[Subscriber, Reason], None],
    ) -> None:
        """`ask` for a probe on the subscription; `crowded`: see ReadCache; `clock_came` is told of each, in its place
        among the announcements; `recovered` and `failed` what became of a subscriber, the first also whether it had
        missed anything."""
        self.shelf = ReadCache(log, crowded, time.monotonic)
        self.losses = Losses(log, ask)
        self._log = log
        self._ask = ask
        self._clock_came = clock_came
        self._recovered = recovered
        self._failed = failed
        self._waiting: dict[CatchUpState, gevent.event.Event] = {}  # for the next clock
        self._queue: deque[Subscriber] = deque()  # detached, and behind
        self._enqueued: set[Subscriber] = set()  # these, and those a worker greenlet is busy with
        self._workers = 0
        self._last = BEGINNING

    def sync(self, catching: CatchUpState, seconds: float) -> bool:
        """Wait for a clock; False if none comes. A flood of announcements may have outdated it already."""
        came = self._waiting[catching] = gevent.event.Event()
        self._ask()
        try:
            came.wait(seconds)
        finally:
            self._waiting.pop(catching, None)
        return bool(came.is_set())

    def probe(self) -> tuple[Command, Callable[[Any], None]]:
        """See `PubSubListener`. Whoever waits by now gets this clock."""
        waiting, shelved = list(self._waiting), self.shelf.channels()
        self.losses.probe_leaves()

        def answered(answer: Any) -> None:
            clock, tails = self._log.probed(answer)
            if clock.last == self._last:  # thousands of idle subscribers remember it: one object for all
                clock = clock._replace(last=self._last)
            self._last = clock.last
            self.shelf.validate(clock, dict(zip(shelved, tails, strict=True)))
            self._clock_came(clock)
            clock = self._log.with_known_losses(clock)
            for catching in waiting:
                came = self._waiting.pop(catching, None)
                if came is not None:
                    catching.clock = clock
                    came.set()

        return self._log.probe(shelved), answered

    def pages(self, subscriber: Subscriber) -> Iterator[Page]:
        """Everything in the log after the subscriber's last event; a page counts as written when the next is asked
        for. Ends with the subscriber live, or due again. Raises Unavailable."""
        for page in self._pages(subscriber):
            yield Page(with_proof(page.wire, subscriber.proof), page.cursor)

    def _pages(self, subscriber: Subscriber) -> Iterator[Page]:
        catching = subscriber.catching
        assert catching is not None
        if catching.clock is None and not self.sync(catching, SYNC_SECONDS):
            raise Unavailable("Redis does not say where the log stands; try again.", retry_after=1)
        if catching.clock is None:
            return
        missed, catching.begun = False, True
        replay = Replay(
            self.shelf,
            subscriber.channels,
            subscriber.last,
            catching.unasked,
            catching.clock,
            None if catching.live_until is None else Late(catching.late, catching.live_until),
            lost=catching.lost,
            cursors=subscriber.tells_cursor,
        )
        told = subscriber.last  # its client knows this as its cursor
        try:
            for page in replay.pages():
                yield page
                told = page.cursor or told
                if catching.clock is not None:  # else more may have been lost meanwhile
                    catching.lost = False  # that was said, or lies before what is still to be read
                subscriber.last, missed = page.cursor or subscriber.last, True
                if isinstance(subscriber, Listener) and page.wire.endswith(sse.DONE):
                    subscriber.told, subscriber.broken_off = True, sse.is_broken_off(page.wire)
        except Unavailable:
            catching.restart()  # the replay may have gone past this clock
            raise
        finished = isinstance(subscriber, Listener) and subscriber.told
        if catching.live_until is None and told < replay.through and subscriber.tells_cursor and not finished:
            yield Page(sse.cursor(replay.through), None)  # it has joined: its next place is where it goes live
        missed = missed or bool(catching.held)
        if subscriber.caught_up(replay.through, time.monotonic()):
            self._recovered(subscriber, missed)
        else:
            self._failed(subscriber, Reason.SLOW)

    @staticmethod
    def pause() -> None:
        """After Unavailable: spreads the reads of all who wait for Redis."""
        gevent.sleep(random.uniform(0.2, 1.0))

    def enqueue(self, subscriber: Subscriber) -> None:
        """A detached subscriber has something to catch up with."""
        if subscriber in self._enqueued:
            return  # the greenlet that has it sees it
        self._queue.append(subscriber)
        self._enqueued.add(subscriber)
        self._add_worker()

    def _add_worker(self) -> None:
        if self._queue and self._workers < WORKERS:
            gevent.spawn(self._work)  # which begins later
            self._workers += 1

    def _work(self) -> None:
        try:
            while self._queue:
                subscriber = self._queue.popleft()
                try:
                    while subscriber.catching is not None and subscriber.reason is None:
                        self._try(subscriber)
                except Exception:
                    logger.exception("a connection could not be brought up to date, and is cut; it will resume")
                    self._failed(subscriber, Reason.BROKEN)
                finally:
                    self._enqueued.discard(subscriber)
        finally:
            self._workers -= 1

    def _try(self, subscriber: Subscriber) -> None:
        outlet = subscriber.outlet
        assert isinstance(outlet, DetachedSocket)
        try:
            for page in self.pages(subscriber):
                sent = self._drained(subscriber, outlet) and outlet.send(EncodedBatch(page.wire, page.cursor))
                if not (sent and self._drained(subscriber, outlet)):
                    self._failed(subscriber, Reason.STUCK)
                    return
        except Unavailable:
            self.pause()

    def _drained(self, subscriber: Subscriber, outlet: DetachedSocket) -> bool:
        """Wait for a slow client, while another worker greenlet goes on with the others."""
        if outlet.clear:
            return outlet.fd >= 0
        self._workers -= 1
        self._add_worker()
        try:
            return outlet.drain(subscriber.patience)
        finally:
            self._workers += 1
