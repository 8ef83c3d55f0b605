"""The life of a connection after it has joined: taking over its socket, heartbeats, and its end."""

from __future__ import annotations

import random
import time
from typing import Any, Final

import gevent

from pushsvc.concurrency.loops import Loop, TimeSlice
from pushsvc.concurrency.pacing import spread
from pushsvc.concurrency.poll import POLLS
from pushsvc.config import Settings
from pushsvc.delivery.endings import FINAL, Reason
from pushsvc.delivery.positions import Positions
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.subscribers import LOOK, Subscribers
from pushsvc.delivery.transports.detached import CodedSocket, DetachedSocket, Sockets
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import EventId

OUSTED_MS: Final = 60_000  # reconnection time of a stream that ended for a newer one, so that tabs take turns slowly


class Lifetimes:
    """Sends heartbeats to silent connections, and ends those that have expired, are stuck, or must give way."""

    def __init__(self, subscribers: Subscribers, positions: Positions, settings: Settings) -> None:
        self.subscribers = subscribers
        self.sockets = Sockets(settings.send_buffer_bytes, POLLS[settings.poller], self)
        self._positions = positions
        self._retry_seconds = settings.retry_seconds
        self.loop = Loop("wheel", self._run, expected=())

    def retry_ms(self) -> int:
        """Draw a reconnection time in milliseconds, spread so that clients cut together do not come back together."""
        return int(self._retry_seconds * 1000 * random.uniform(0.5, 1.5))

    # Taking a socket over

    def adopt(self, subscriber: Subscriber, client: Any, *, chunked: bool) -> None:
        """Write to the client's socket directly from now on, first what waits in the queue. If this fails, the
        subscriber is removed. The `client` object owns the descriptor until `client.detach()`, then the transport does;
        so it is closed exactly once."""
        queue = subscriber.transport
        assert isinstance(queue, QueuedTransport)
        fd, coder = client.fileno(), queue.coder
        if coder is None:
            transport = DetachedSocket(fd, self.sockets, subscriber, chunked)
        else:
            transport = CodedSocket(fd, self.sockets, subscriber, chunked, coder)
        transport.listener = queue.listener
        try:
            self.sockets.add(transport)
            subscriber.transport = transport
            client.detach()
            if transport.listener is not None and transport.listener.busy:
                transport.listen(False)
            self._go_on(subscriber, queue, transport)
        except BaseException:
            if client.fileno() >= 0:
                transport.give_back()
            subscriber.reason = subscriber.reason or Reason.BROKEN
            self.subscribers.remove(subscriber)
            raise

    def _go_on(self, subscriber: Subscriber, queue: QueuedTransport, transport: DetachedSocket) -> None:
        wire, last = queue.take(wait=False)
        if wire:
            transport.send(EncodedBatch(wire, last))
        if subscriber.reason is not None:
            if transport.finish(b"", whole=subscriber.whole):
                self.close(subscriber)
        elif wire:
            self._flushed(subscriber)
        else:
            self.subscribers.to_fast_path(subscriber)

    # Methods of SocketOwner

    def on_hang_up(self, subscriber: Subscriber) -> None:
        """End a connection whose client hung up, or sent too much."""
        self.end(subscriber, Reason.GONE)

    def on_flushed(self, subscriber: Subscriber) -> None:
        """Go on with a subscriber whose waiting bytes have been written."""
        self.subscribers.guard(subscriber, self._flushed)

    def _flushed(self, subscriber: Subscriber) -> None:
        if subscriber.reason is not None:
            self.close(subscriber)
        elif subscriber.transport.drained and subscriber.catching is None:
            self._delivered(subscriber, subscriber.last)
            self.subscribers.to_fast_path(subscriber)

    def _delivered(self, subscriber: Subscriber, last: EventId) -> None:
        if subscriber.tracks_position:
            self._positions.mark(subscriber.user, last)

    # Reports of the fast path

    def is_on_fast_path(self, fd: int) -> bool:
        """Whether the descriptor belongs to a subscriber on the fast path."""
        subscriber = self.sockets.owner(fd)
        return subscriber is not None and subscriber.on_fast_path

    def keep_rest(self, fd: int, rest: bytes, last: EventId) -> None:
        """Keep the bytes that the socket of a client on the fast path did not take. `last`: the newest event that was
        sent to it."""
        subscriber = self.sockets.owner(fd)
        if subscriber is not None:
            self.subscribers.guard(subscriber, lambda each: self._keep_rest(each, rest, last))

    def _keep_rest(self, subscriber: Subscriber, rest: bytes, last: EventId) -> None:
        self.subscribers.to_slow_path(subscriber)
        subscriber.last = max(subscriber.last, last)
        assert isinstance(subscriber.transport, DetachedSocket)
        subscriber.transport.keep(rest)

    def caught_up(self, subscriber: Subscriber, *, sent: bool) -> None:
        """Go on with a subscriber that is live again. `sent`: events were sent to bring it up to date. A subscriber
        with a greenlet needs no note of that: the greenlet notes what it has written."""
        if subscriber.channel_end is not None:
            self.end(subscriber, Reason.ENDED)
        elif sent and subscriber.transport.detached:
            self._flushed(subscriber)
        else:
            self.subscribers.to_fast_path(subscriber)

    def say(self, subscriber: Subscriber, wire: bytes) -> None:
        """Send bytes that are no event, as they are. A client that leaves no room for them is cut.
        Waits while events are being sent."""
        self.subscribers.channels.settle()
        if subscriber.reason is None and not self._say(subscriber, EncodedBatch.unchunked(wire)):
            self.end(subscriber, Reason.SLOW)

    def _say(self, subscriber: Subscriber, batch: EncodedBatch) -> bool:
        sent = subscriber.transport.send(batch)
        if not subscriber.transport.drained:
            self.subscribers.to_slow_path(subscriber)
        return sent

    # Endings

    def end(self, subscriber: Subscriber, reason: Reason, farewell: bytes | None = None) -> None:
        """End a connection. For some reasons its client is told why and when to reconnect; for others the connection is
        cut. `farewell`: the last bytes in any case. Harmless when repeated."""
        if subscriber.reason is None:
            self.subscribers.guard(subscriber, lambda each: self._end(each, reason, farewell))

    def _end(self, subscriber: Subscriber, reason: Reason, farewell: bytes | None) -> None:
        self.subscribers.to_slow_path(subscriber)
        subscriber.reason = reason
        transport = subscriber.transport
        farewell = self._farewell(subscriber, reason) if farewell is None else farewell
        if farewell is not None:
            if not transport.finish(farewell, whole=subscriber.whole):
                return  # it is closed when the waiting bytes have been written
        elif not transport.detached:
            transport.abort()
        if transport.detached:
            self.close(subscriber)

    def _farewell(self, subscriber: Subscriber, reason: Reason) -> bytes | None:
        """The last bytes to a client. None: it is cut without a word."""
        kind = subscriber.kind
        refusal = kind.refusal(reason)
        if refusal is not None:
            return kind.farewell(refusal, OUSTED_MS if reason is Reason.OUSTED else self.retry_ms())
        return kind.ending if reason in FINAL else None

    def close(self, subscriber: Subscriber) -> None:
        """Remove a detached subscriber whose connection is over, after noting what was delivered."""
        channels = self.subscribers.channels
        pending = [channels.sent(each) for each in channels.of(subscriber) if self._positions.is_pending(each)]
        if pending and subscriber.transport.drained and subscriber.catching is None:
            self._delivered(subscriber, min(subscriber.last, max(pending)))
        self.subscribers.remove(subscriber)

    def end_all(self, reason: Reason) -> None:
        """End all connections at once, also those whose clients cannot resume."""
        for subscriber in self.subscribers.all():
            self.end(subscriber, reason)

    def drain(self, seconds: float) -> None:
        """End the connections whose clients can resume, spread evenly over `seconds`. Each client is told when to
        reconnect."""
        subscribers = [subscriber for subscriber in self.subscribers.all() if subscriber.kind.returns]
        random.shuffle(subscribers)
        for number in spread(len(subscribers), seconds):
            self.end(subscribers[number], Reason.DRAINING)

    # The wheel

    def _run(self, loop: Loop) -> None:
        """Look at the subscribers that are due: send heartbeats, and end expired and stalled connections."""
        missed = self.subscribers.all()  # after an error has restarted this loop, anybody may be due
        while True:
            loop.report_healthy()
            gevent.sleep(self.subscribers.tick_seconds)
            turn = TimeSlice()
            self.subscribers.finish_removals()
            due, missed = [*missed, *self.subscribers.due()], []
            for number, subscriber in enumerate(due):
                if subscriber in self.subscribers:
                    self.subscribers.guard(subscriber, self._look)
                if number % LOOK == 0:
                    turn.yield_if_over()

    def _look(self, subscriber: Subscriber) -> None:
        transport, now, behind = subscriber.transport, time.monotonic(), subscriber.catching is not None
        if transport.is_stalled(now, behind=behind, patience=subscriber.kind.patience_seconds):
            self._give_up(subscriber)
        elif subscriber.reason is not None:
            return
        elif subscriber.expires is not None and subscriber.expires <= time.time():
            self.end(subscriber, subscriber.kind.expiry)
        else:
            if self.subscribers.silent_until(subscriber) <= now and _nothing_on_its_way(subscriber):
                subscriber.sent_at = now
                self._say(subscriber, subscriber.heartbeat)
            if subscriber.on_fast_path:
                self.subscribers.schedule(subscriber)
            else:
                self.subscribers.to_fast_path(subscriber)

    def _give_up(self, subscriber: Subscriber) -> None:
        """Cut a connection whose client does not read: a write, or its last bytes, would wait for ever."""
        subscriber.reason = subscriber.reason or Reason.SLOW
        if subscriber.transport.detached:
            self.close(subscriber)
        else:
            subscriber.transport.abort()


def _nothing_on_its_way(subscriber: Subscriber) -> bool:
    return subscriber.transport.drained if subscriber.transport.detached else subscriber.catching is None
