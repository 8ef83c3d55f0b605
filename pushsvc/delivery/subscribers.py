"""The connections of this worker, from their joining to their end."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Final

from pushsvc.concurrency.poll import MakePoll
from pushsvc.delivery.channels import Channels
from pushsvc.delivery.positions import Positions
from pushsvc.delivery.subscriber import COMPLETE, Listener, Reason, Subscriber
from pushsvc.delivery.timer_wheel import TimerWheel
from pushsvc.delivery.transports.detached import DetachedSocket, Sockets
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import EventId
from pushsvc.storage.log import EventLog

logger = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.5
LOOK: Final = 128  # connections handled between two looks at the time
OUSTED_MS: Final = 60_000  # when one comes back that gave way: tabs that are too many take turns slowly


class Connections:
    """Settles those that can be, and ends those that must end. What time does to them: see lifetimes."""

    def __init__(
        self,
        log: EventLog,
        left: Callable[[Subscriber], None],
        *,
        heartbeat_seconds: float,
        retry_seconds: float,
        send_buffer_bytes: int,
        poll: MakePoll,
    ) -> None:
        """`left` is told of each that has ended."""
        self.sockets = Sockets(
            send_buffer_bytes,
            poll,
            lambda subscriber: self.guard(subscriber, lambda each: self.end(each, Reason.GONE)),
            lambda subscriber: self.guard(subscriber, self._flushed),
        )
        self.channels = Channels()
        self.positions = Positions(log, self.channels.positions)
        self._left = left
        self._heartbeat_seconds = heartbeat_seconds
        self._retry_seconds = retry_seconds
        self._all: dict[Subscriber, None] = {}
        self._unsettled: dict[Subscriber, None] = {}  # looked at with every tick
        self._leaving: dict[Subscriber, None] = {}  # not yet forgotten by all who knew them
        self.tick_seconds = min(TICK_SECONDS, heartbeat_seconds / 2)
        self._wheel = TimerWheel(self.tick_seconds)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self._all

    def retry_ms(self) -> int:
        """A reconnection time for a client, spread so that those who leave together do not come back together."""
        return int(self._retry_seconds * 1000 * random.uniform(0.5, 1.5))

    def enter(self, subscriber: Subscriber) -> None:
        subscriber.sent_at = time.monotonic()
        self._all[subscriber] = self._unsettled[subscriber] = None
        self.channels.enter(subscriber)

    def all(self) -> list[Subscriber]:
        return list(self._all)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget one whose connection has ended. Harmless when repeated; if it fails, the wheel does it again."""
        if subscriber in self._all:
            self._leaving[subscriber] = None
            self._forget(subscriber)

    def _forget(self, subscriber: Subscriber) -> None:
        """Each step can be repeated. No channel knows its descriptor any more before that is closed."""
        outlet = subscriber.outlet
        self.channels.leave(subscriber, outlet.fd if isinstance(outlet, DetachedSocket) else -1, time.monotonic())
        self._wheel.take(subscriber)
        if outlet.detached:
            outlet.cut()
        self._left(subscriber)
        for known in (self._unsettled, self._all, self._leaving):
            known.pop(subscriber, None)

    def finish_leaving(self) -> None:
        """Forget those whose forgetting an error broke off."""
        for subscriber in list(self._leaving):
            self.guard(subscriber, self._forget)

    def tick(self) -> list[Subscriber]:
        """Turn the wheel, and list those to look at: whose time has come, and all that are not settled."""
        return [*self._wheel.turn(), *self._unsettled]

    def drop(self, subscriber: Subscriber) -> None:
        """Whatever state an error has left it in: its client resumes."""
        subscriber.reason = subscriber.reason or Reason.BROKEN
        if subscriber.outlet.detached:
            self.leave(subscriber)
        else:
            subscriber.outlet.cut()  # then its request ends

    def settled(self, fd: int) -> bool:
        """Whether it is the descriptor of a settled one."""
        subscriber = self.sockets.find(fd)
        return subscriber is not None and subscriber.due > 0

    def settle(self, subscriber: Subscriber) -> None:
        """Treat it as the crowd, if it is in nothing different."""
        outlet = subscriber.outlet
        if (
            isinstance(outlet, DetachedSocket)
            and outlet.chunked
            and outlet.clear
            and subscriber.catching is None
            and subscriber.reason is None
            and subscriber.proof is None  # else its bytes are its own
            and subscriber.last <= self.channels.through  # else some announcements are behind what it has had
            and not subscriber.due
        ):
            self.come_back(subscriber)
            self.channels.settle(subscriber, outlet.fd)
            self._unsettled.pop(subscriber, None)

    def unsettle(self, subscriber: Subscriber) -> None:
        """Treat it by itself. Harmless when repeated."""
        outlet = subscriber.outlet
        if subscriber.due and isinstance(outlet, DetachedSocket):
            subscriber.sent_at = self._sent_at(subscriber)
            self._unsettled[subscriber] = None
            self.channels.unsettle(subscriber, outlet.fd)
            self._wheel.take(subscriber)  # last: until then this can be repeated

    def adopt(self, subscriber: Subscriber, client: Any, *, chunked: bool) -> None:
        """From now on its bytes go to the socket directly; what waits in its queue is first. If this fails, it is
        forgotten. The descriptor is the client's until it was detached, then the outlet's."""
        queue, outlet = subscriber.outlet, DetachedSocket(client.fileno(), self.sockets, chunked=chunked)
        assert isinstance(queue, QueuedTransport)
        try:
            self.sockets.add(outlet.fd, subscriber)
            subscriber.outlet = outlet
            client.detach()
            self._go_on(subscriber, queue, outlet)
        except BaseException:
            if client.fileno() >= 0:
                outlet.give_back()
            subscriber.reason = subscriber.reason or Reason.BROKEN
            self.leave(subscriber)
            raise

    def _go_on(self, subscriber: Subscriber, queue: QueuedTransport, outlet: DetachedSocket) -> None:
        wire, last = queue.take(wait=False)
        if wire:
            outlet.send(EncodedBatch(wire, last))
        if subscriber.reason is not None:
            if outlet.end(b"", whole=subscriber.whole):
                self.close(subscriber)
        elif wire:
            self._flushed(subscriber)
        else:
            self.settle(subscriber)

    def end(self, subscriber: Subscriber, reason: Reason) -> None:
        """Let a connection go: told when to come back, or cut. Harmless when repeated."""
        if subscriber.reason is None:
            self.guard(subscriber, lambda each: self._end(each, reason))

    def _end(self, subscriber: Subscriber, reason: Reason) -> None:
        self.unsettle(subscriber)
        subscriber.reason = reason
        outlet = subscriber.outlet
        refusal = subscriber.refusal(reason)
        if refusal is not None or reason in COMPLETE:
            retry_ms = OUSTED_MS if reason is Reason.OUSTED else self.retry_ms()
            farewell = b"" if refusal is None else subscriber.farewell(refusal, retry_ms)
            if not outlet.end(farewell, whole=subscriber.whole):
                return  # when what waits there is out, it is closed
        elif not outlet.detached:
            outlet.cut()
        if outlet.detached:
            self.close(subscriber)

    def close(self, subscriber: Subscriber) -> None:
        """Forget a detached one whose connection is over: nobody else would."""
        owed = [self.channels.sent(c) for c in self.channels.of(subscriber) if self.positions.owes(c)]
        if owed and subscriber.outlet.clear and subscriber.catching is None:
            self._had(subscriber, min(subscriber.last, max(owed)))
        self.leave(subscriber)

    def _flushed(self, subscriber: Subscriber) -> None:
        """What waited for a detached one is out."""
        if subscriber.reason is not None:
            self.close(subscriber)
        elif subscriber.outlet.clear and subscriber.catching is None:
            self._had(subscriber, subscriber.last)
            self.settle(subscriber)

    def _had(self, subscriber: Subscriber, last: EventId) -> None:
        if subscriber.ack:
            self.positions.mark(subscriber.user, last)

    def recovered(self, subscriber: Subscriber, missed: bool) -> None:
        """It is live, after it got what it had `missed`. One with a greenlet says what it wrote, and ends, itself."""
        if isinstance(subscriber, Listener) and subscriber.told:
            self.end(subscriber, Reason.ENDED)
        elif missed and subscriber.outlet.detached:
            self._flushed(subscriber)
        else:
            self.settle(subscriber)

    def short(self, fd: int, rest: bytes, last: EventId) -> None:
        """A settled one's client had no room for all that was sent, up to the event `last`."""
        subscriber = self.sockets.find(fd)
        if subscriber is not None:
            self.guard(subscriber, lambda each: self._keep(each, rest, last))

    def _keep(self, subscriber: Subscriber, rest: bytes, last: EventId) -> None:
        self.unsettle(subscriber)
        subscriber.last = max(subscriber.last, last)
        assert isinstance(subscriber.outlet, DetachedSocket)
        subscriber.outlet.keep(rest)

    def guard(self, subscriber: Subscriber, work: Callable[[Subscriber], object]) -> None:
        """A mistake of ours with one connection costs that one; it will resume."""
        try:
            work(subscriber)
        except Exception:
            logger.exception("a connection is cut because of an error of the service")
            with contextlib.suppress(Exception):
                self.drop(subscriber)

    def come_back(self, subscriber: Subscriber) -> None:
        """To a settled one, when it is due for a heartbeat or its token expires."""
        seconds = self.silent_until(subscriber) - time.monotonic()
        if subscriber.expires is not None:
            seconds = min(seconds, subscriber.expires - time.time())
        self._wheel.put(subscriber, seconds)

    def silent_until(self, subscriber: Subscriber) -> float:
        """Then it needs a heartbeat."""
        return self._sent_at(subscriber) + self._heartbeat_seconds

    def _sent_at(self, subscriber: Subscriber) -> float:
        if not subscriber.due:
            return subscriber.sent_at
        return max(subscriber.sent_at, *(channel.sent_at for channel in self.channels.of(subscriber)))
