"""The registry of the subscribers of one partition in this worker, and which of them are on the fast path."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from pushsvc import metrics
from pushsvc.concurrency.timer_wheel import TimerWheel
from pushsvc.delivery import trails
from pushsvc.delivery.channels import Channels
from pushsvc.delivery.endings import Reason
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.detached import DetachedSocket
from pushsvc.storage.counts.presence import Presence

logger = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.5
LOOK: Final = 128  # connections handled between two checks of the time


class Subscribers:
    """The registry of subscribers. lifetimes.py ends their connections."""

    def __init__(self, channels: Channels, presence: Presence, heartbeat_seconds: float) -> None:
        self.channels = channels
        self.tick_seconds = min(TICK_SECONDS, heartbeat_seconds / 2)
        self._presence = presence
        self._heartbeat_seconds = heartbeat_seconds
        self._all: dict[Subscriber, None] = {}
        self._slow: dict[Subscriber, None] = {}  # not on the fast path, so checked with every tick
        self._leaving: dict[Subscriber, None] = {}  # whose removal is not complete
        self._wheel: TimerWheel[Subscriber] = TimerWheel(self.tick_seconds)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self._all

    def all(self) -> list[Subscriber]:
        """All subscribers, in a new list."""
        return list(self._all)

    def add(self, subscriber: Subscriber) -> None:
        """Register a subscriber, and have it follow its channels."""
        subscriber.sent_at = time.monotonic()
        self._all[subscriber] = self._slow[subscriber] = None
        metrics.JOINS.labels(subscriber.kind.transport).inc()
        metrics.CONNECTIONS.labels(subscriber.kind.transport).inc()
        self.channels.follow(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a subscriber whose connection has ended. Harmless when repeated. If it fails, `finish_removals` tries
        again."""
        if subscriber in self._all:
            self._leaving[subscriber] = None
            self._forget(subscriber)

    def _forget(self, subscriber: Subscriber) -> None:
        """Remove a subscriber from everything that knows it. Each step can be repeated. The descriptor is closed only
        after no channel holds it any more."""
        transport = subscriber.transport
        fd = transport.fd if isinstance(transport, DetachedSocket) else -1
        self.channels.unfollow(subscriber, fd, time.monotonic())
        self._wheel.cancel(subscriber)
        if transport.detached:
            transport.abort()
        if subscriber.counted:  # else it never joined, or was ousted
            self._presence.count_out(subscriber)
            if subscriber.on_leave is not None:
                subscriber.on_leave(subscriber)
        if subscriber in self._all:
            metrics.CONNECTIONS.labels(subscriber.kind.transport).dec()
            metrics.ENDS.labels((subscriber.reason or Reason.GONE).name.lower()).inc()
            trails.ended(subscriber)
        for known in (self._slow, self._all, self._leaving):
            known.pop(subscriber, None)

    def finish_removals(self) -> None:
        """Complete the removals that an error interrupted."""
        for subscriber in list(self._leaving):
            self.guard(subscriber, self._forget)

    def guard(self, subscriber: Subscriber, work: Callable[[Subscriber], object]) -> None:
        """Call `work`. If it raises, only this connection is cut, and its client resumes."""
        try:
            work(subscriber)
        except Exception:
            logger.exception("a connection is cut because of an error of the service")
            with contextlib.suppress(Exception):
                self.drop(subscriber)

    def drop(self, subscriber: Subscriber) -> None:
        """Cut a connection in whatever state an error has left it; its client resumes."""
        subscriber.reason = subscriber.reason or Reason.BROKEN
        if subscriber.transport.detached:
            self.remove(subscriber)
        else:
            subscriber.transport.abort()  # then its request ends

    def to_fast_path(self, subscriber: Subscriber) -> None:
        """Put a subscriber on the fast path, if it meets all conditions for that."""
        transport = subscriber.transport
        if (
            isinstance(transport, DetachedSocket)
            and (transport.chunked or subscriber.kind.framed)
            and transport.uniform
            and transport.drained
            and subscriber.catching is None
            and subscriber.reason is None
            and subscriber.proof is None  # else its bytes differ from those of all others
            and subscriber.last <= self.channels.through  # else it has had events that are still to be announced
            and not subscriber.on_fast_path
        ):
            self.schedule(subscriber)
            self.channels.to_fast_path(subscriber, transport.fd)
            self._slow.pop(subscriber, None)

    def to_slow_path(self, subscriber: Subscriber) -> None:
        """Take a subscriber off the fast path. Harmless when repeated."""
        transport = subscriber.transport
        if subscriber.on_fast_path and isinstance(transport, DetachedSocket):
            subscriber.sent_at = self._sent_at(subscriber)
            self._slow[subscriber] = None
            self.channels.to_slow_path(subscriber, transport.fd)
            self._wheel.cancel(subscriber)  # comes last, so that this can be repeated until then

    def change_channels(self, subscriber: Subscriber, channels: Sequence[str]) -> None:
        """Have a subscriber follow these channels, and no others. It is off the fast path then."""
        self.to_slow_path(subscriber)
        self.channels.change(subscriber, channels, time.monotonic())

    def due(self) -> list[Subscriber]:
        """Advance the timer wheel by one tick, and list the subscribers to look at: those whose time has come, and all
        that are not on the fast path."""
        return [*self._wheel.tick(), *self._slow]

    def schedule(self, subscriber: Subscriber) -> None:
        """Schedule the next look at a subscriber on the fast path: when its heartbeat is due, or its token expires."""
        seconds = self.silent_until(subscriber) - time.monotonic()
        if subscriber.expires is not None:
            seconds = min(seconds, subscriber.expires - time.time())
        self._wheel.schedule(subscriber, seconds)

    def silent_until(self, subscriber: Subscriber) -> float:
        """The monotonic time at which the subscriber needs a heartbeat."""
        return self._sent_at(subscriber) + self._heartbeat_seconds

    def _sent_at(self, subscriber: Subscriber) -> float:
        if not subscriber.on_fast_path:
            return subscriber.sent_at
        return max(subscriber.sent_at, *(channel.sent_at for channel in self.channels.of(subscriber)))
