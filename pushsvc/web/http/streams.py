"""Makes the responses of all streams: from a subscriber to a response that lasts as long as its client listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from flask import Response, after_this_request, request

from pushsvc.delivery.endings import Reason
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.handover import CLOSES, HELD, UNREAD, HandOver
from pushsvc.delivery.transports.hangup import HangUp, discard
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.events import sse
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.events.proof import with_proof
from pushsvc.partition import Partition
from pushsvc.storage.cursor import Cursor
from pushsvc.storage.tickets import SESSION_SECONDS, Admission
from pushsvc.web.http.cookies import set_cookie
from pushsvc.web.http.current import service
from pushsvc.web.http.refusing import CHUNKED, STREAM_HEADERS


def make_transport() -> QueuedTransport:
    """Make the transport of a stream that answers this request."""
    return QueuedTransport(service().settings.send_buffer_bytes, request.environ.get("gunicorn.socket"))


class Connection:
    """A subscriber that has joined the Hub, and the watch on its client's socket, while a request holds them."""

    def __init__(self, hub: Hub, subscriber: Subscriber, left: Callable[[], None] | None = None) -> None:
        """Join the Hub. `left` is called when the client leaves. Raises Unavailable, or TooManyConnections."""
        self._hub = hub
        self.subscriber = subscriber
        self._client = request.environ.get("gunicorn.socket")
        self._chunked = CHUNKED.get(request.environ.get("SERVER_PROTOCOL", ""))
        self._held = True
        self._handed_over = False
        self._holders = request.environ.get(HELD, {})
        self._left = left
        streams = isinstance(subscriber.transport, QueuedTransport)  # else another request may follow on the connection
        self._hang_up = HangUp(self._client, discard if streams else request.environ.get(UNREAD))
        self._over = False
        self._holders[self.end] = None
        after_this_request(self._ends_with)
        try:
            self._over = hub.join(subscriber)
            self._hang_up.watch(self._gone)
        except BaseException:
            self.leave()
            raise

    def _ends_with(self, response: Response) -> Response:
        """Leave when the response ends, even if it is an error response, or the client is gone before the first byte:
        in these cases the response's generator never starts, so it cannot clean up."""
        response.call_on_close(self.leave)
        return response

    def _gone(self) -> None:
        self._hub.lifetimes.end(self.subscriber, Reason.GONE)
        if self._left is not None:
            self._left()

    @property
    def detachable(self) -> bool:
        """Whether the stream can go on without this request's greenlet."""
        return self._hub.capacity.detaches and self._client is not None and self._chunked is not None

    def stand(self) -> None:
        """Note that the stream can no longer be refused, see `Hub.stand`."""
        self._hub.stand(self.subscriber, over=self._over)

    def hand_over(self) -> HandOver:
        """Make the exception that the response's iterator raises to give the client's socket to the Hub."""
        self._hang_up.unwatch()
        self._handed_over = True  # the response ends before the Hub has the socket
        return HandOver(self._adopted)

    def _adopted(self, client: Any) -> None:
        self._hub.adopt(self.subscriber, client, chunked=self._chunked is True)
        self._held = False

    def leave(self) -> None:
        """Leave the Hub when the response ends. Does nothing once `hand_over` was called. Harmless when repeated."""
        if not self._handed_over:
            self.end()

    def end(self) -> None:
        """Leave the Hub, unless it has the socket by now: then it serves the stream itself. Harmless when repeated."""
        self._hang_up.unwatch()
        if self._held:
            self._hub.leave(self.subscriber)
        self._holders.pop(self.end, None)


def stream(
    hub: Hub,
    connection: Connection,
    transport: QueuedTransport,
    head: bytes,
    admission: Admission | None = None,
    cursor: EventId | None = None,
) -> Response:
    """Make a response that begins with `head`, and lasts as long as the client listens. `admission`, `cursor`: see
    `begin`. Raises as `begin` does; then the connection has left the Hub."""
    try:
        if connection.detachable:
            request.environ[CLOSES]()  # or a proxy would send its next request on a connection that the Hub will close
        head = with_proof(head, connection.subscriber.proof)
        response = Response(_stream(hub, connection, transport, head), headers=STREAM_HEADERS)
        begin(admission, response, connection.subscriber, cursor)
        connection.stand()
        return response
    except BaseException:
        connection.leave()
        raise


def _stream(hub: Hub, connection: Connection, transport: QueuedTransport, head: bytes) -> Iterator[bytes]:
    yield head
    yield from hub.listen(connection.subscriber, transport, detach=connection.detachable)
    if connection.detachable and not transport.ended:
        raise connection.hand_over()
    if not transport.whole:
        transport.abort()


def begin(
    admission: Admission | None, response: Response, stands: Subscriber | None = None, cursor: EventId | None = None
) -> None:
    """Spend the ticket, if there is one. That is done last, so that a refused request leaves the ticket usable.
    `stands`: the subscriber that has joined. `cursor`: the event id after which a repeat of this request begins, unless
    the URL itself says so. Raises Unauthorized, or LostRace."""
    if admission is None or admission.use is None:
        return
    partition = service().partition_of(admission.use.ticket)
    name = "" if stands is None else partition.streams.name(stands)
    begun = partition.tickets.begin(admission.use, admission.identity.need_user(), name, cursor)
    set_cookie(response, begun.cookie_name, begun.cookie, SESSION_SECONDS)
    if begun.earlier:
        partition.streams.end(begun.earlier)


class Start(NamedTuple):
    """The start of a stream. `after`: the cursor after which events are replayed. `new_channels`: channels that the
    reader has not listened to before. `lost`: the reader may have lost events that cannot be named, and is to be told.
    `ours`: the cursor is of this data, or there is none. `anew`: neither the client has a cursor nor the user a
    position, so only the losses known when the stream joins tell whether there was one."""

    after: EventId
    new_channels: Sequence[str] = ()
    lost: bool = False
    ours: bool = True
    anew: bool = False


def start_after(cursor: Cursor, channels: Sequence[str]) -> Start:
    """The start of a client that sends a cursor: after the cursor, or, if that is not of this data, at the oldest kept
    event."""
    if cursor.ours:
        return Start(cursor.id or BEGINNING)
    return Start(BEGINNING, new_channels=channels, lost=True, ours=False)


def opening(partition: Partition, start: Start) -> bytes:
    """The first bytes of a stream: the reconnection time, and the cursor from which a client resumes if it gets no
    event.

    A client whose cursor is not of this data gets only the reconnection time here, as the first line of the gap event
    that follows; that event has the new cursor.
    """
    retry_ms = partition.retry_ms()
    return sse.cursor(start.after, retry_ms) if start.ours else sse.retry(retry_ms)
