"""Makes the responses of all streams: from a subscriber to a response that lasts as long as its client listens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from pushsvc.calls.access.cookies import session_cookies
from pushsvc.calls.answers import Headers, Stream
from pushsvc.calls.call import Call
from pushsvc.calls.content_coding import coding_headers, stream_coding
from pushsvc.calls.refusing import CHUNKED, STREAM_HEADERS
from pushsvc.calls.sockets.dialogue import Dialogue
from pushsvc.delivery import trails
from pushsvc.delivery.endings import Reason
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.starts import Start
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.coding import make_coder
from pushsvc.delivery.transports.handover import HandOver
from pushsvc.delivery.transports.hangup import HangUp, discard
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.events.proof import with_proof
from pushsvc.llm.dialects.translating import ChunksCoder, TranslatingCoder, Translator
from pushsvc.partition import Partition
from pushsvc.storage.cursor import Cursor
from pushsvc.storage.tickets.admission import Admission
from pushsvc.telemetry import logs
from pushsvc.telemetry.current import current


def make_transport(
    call: Call,
    *,
    alone: bool = False,
    plain: bool = False,
    translator: Translator | None = None,
    chunks: bool = False,
) -> QueuedTransport:
    """Make the transport of a stream that answers this call. `alone`: hardly any other has the same bytes; `plain`: it
    has no content coding; `translator`: the events go out in other words; `chunks`: no event goes out that is not a
    chunk of an answer."""
    coding = None if plain else stream_coding(call)
    coder = None if coding is None else make_coder(coding, history=alone)
    if translator is not None:
        coder = TranslatingCoder(translator, coder)
    elif chunks:
        coder = ChunksCoder(coder)
    return QueuedTransport(call.service.settings.send_buffer_bytes, call.client, coder)


class Connection:
    """A subscriber that has joined the Hub, and the watch on its client's socket, while a request holds them. As a
    context manager it leaves the Hub after an exception."""

    def __init__(
        self,
        call: Call,
        hub: Hub,
        subscriber: Subscriber,
        left: Callable[[], None] | None = None,
        dialogue: Dialogue | None = None,
    ) -> None:
        """Join the Hub. `left` is called when the client leaves; `dialogue`: of a WebSocket. Raises Unavailable, or
        TooManyConnections."""
        self._hub = hub
        self.subscriber = subscriber
        subscriber.request = current() if logs.observed() else None
        self._client = call.client
        self._chunked = CHUNKED.get(call.protocol) if dialogue is None else False
        self._dialogue = dialogue
        self._held = True
        self._handed_over = False
        self._holders = call.held
        self._left = left
        streams = isinstance(subscriber.transport, QueuedTransport)  # else another request may follow on the connection
        if dialogue is None:
            self._hang_up = HangUp(self._client, discard if streams else call.unread)
        else:
            self._hang_up = HangUp(self._client, dialogue.hear, math.inf)
            dialogue.before = self._hang_up.listen
        self._over = False
        self._holders[self.end] = None
        try:
            self._over = hub.join(subscriber)
            self._hang_up.watch(self._gone)
        except BaseException:
            self.leave()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.leave()

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
        trails.began(self.subscriber)

    def hand_over(self) -> HandOver:
        """Make the exception that the response's iterator raises to give the client's socket to the Hub."""
        self._hang_up.unwatch()
        self._handed_over = True  # the response ends before the Hub has the socket
        return HandOver(self._adopted)

    def _adopted(self, client: Any) -> None:
        if self._dialogue is not None:
            self._dialogue.before = None
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
    call: Call,
    hub: Hub,
    connection: Connection,
    transport: QueuedTransport,
    head: bytes,
    admission: Admission | None = None,
    cursor: EventId | None = None,
) -> Stream:
    """Make a response that begins with `head`, and lasts as long as the client listens. `admission`, `cursor`: see
    `begin`. Raises as `begin` does."""
    if connection.detachable and call.closes is not None:
        call.closes()  # or a proxy would send its next request on a connection that the Hub will close
    head = with_proof(head, connection.subscriber.proof)
    headers = [*STREAM_HEADERS.items(), *coding_headers(call), *begin(call, admission, connection.subscriber, cursor)]
    connection.stand()
    return Stream(headers, pieces(hub, connection, transport, head), connection.leave)


def pieces(hub: Hub, connection: Connection, transport: QueuedTransport, head: bytes) -> Iterator[bytes]:
    """The bytes of a stream that begins with `head`, until it ends, or goes on without its greenlet."""
    coder, listened = transport.coder, hub.listen(connection.subscriber, transport, detach=connection.detachable)
    if coder is None:
        yield head
        yield from listened
    else:
        yield coder.encode(EncodedBatch(head))
        for piece in listened:
            if coded := coder.encode(EncodedBatch(piece)):
                yield coded
    if connection.detachable and not transport.ended:
        raise connection.hand_over()
    if not transport.whole:
        transport.abort()
    elif coder is not None and (end := coder.end()):
        yield end


def begin(
    call: Call, admission: Admission | None, stands: Subscriber | None = None, cursor: EventId | None = None
) -> Headers:
    """Spend the ticket, if there is one, and give the response's headers for that. That is done last, so that a refused
    request leaves the ticket usable.
    `stands`: the subscriber that has joined. `cursor`: the event id after which a repeat of this request begins, unless
    the URL itself says so. Raises Unauthorized, or LostRace."""
    if admission is None or admission.use is None:
        return []
    partition = call.service.partition_of(admission.use.ticket)
    name = "" if stands is None else partition.streams.name(stands)
    begun = partition.tickets.begin(admission.use, admission.identity.need_user(), name, cursor)
    if begun.earlier:
        partition.streams.end(begun.earlier)
    return session_cookies(call, begun.cookie_name, begun.cookie)


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
