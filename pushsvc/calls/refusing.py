"""Temporary refusals on the paths of streams. An EventSource gives up for good at any status but 200, so a temporary
refusal is told to it in a stream, with the time after which to reconnect."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Final

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from pushsvc.calls.answers import Answer, Stream
from pushsvc.calls.call import Call
from pushsvc.delivery.transports.hangup import MOST_SAID_BYTES, hang_up
from pushsvc.errors import Later, TooLarge, Unavailable
from pushsvc.events import sse
from pushsvc.storage.tickets.admission import LostRace

STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}
LONGEST_ACCEPT: Final = 1024  # characters that are looked at; an EventSource sends one type
CHUNKED: Final = {"HTTP/1.0": False, "HTTP/1.1": True}  # how responses without a length are framed, by protocol


def resumable(call: Call, stream: Callable[[], Answer | Stream]) -> Answer | Stream:
    """Answer a call by a `stream`. A worker that is full or stopping refuses before anything else is done, and an
    EventSource is told temporary refusals in a stream."""
    try:
        call.service.capacity.check()
        if (call.content_length or 0) > MOST_SAID_BYTES:
            raise TooLarge(f"A body means nothing here; it may be of {MOST_SAID_BYTES} bytes.")
        try:
            return stream()
        except LostRace:  # another request used the same ticket at the same time: the last one gets the stream
            return stream()
    except Later as error:
        keep_ticket(call)
        if not _comes_back(call):
            raise
        return _refused(call, error)


def _comes_back(call: Call) -> bool:
    """Whether the client is an EventSource, which reconnects. OpenAI's clients accept the same type, but send POST, and
    would take the stream for the model's answer."""
    accepted = parse_accept_header((call.header("accept") or "")[:LONGEST_ACCEPT], MIMEAccept)
    return call.method == "GET" and "text/event-stream" in map(str.lower, accepted.values())


def keep_ticket(call: Call) -> None:
    """Keep the request's ticket alive for another minute, so that the refused client can come back with it."""
    ticket = call.args.get("ticket")
    if ticket:
        with contextlib.suppress(Unavailable):
            call.service.partition_of(ticket).tickets.keep(ticket)


def _refused(call: Call, error: Later) -> Stream:
    """Tell the refusal in a stream. The connection is cut without the stream's end, because some clients do not
    reconnect after a clean end."""
    retry_ms = int(error.retry_after * 1000 * random.uniform(0.5, 1.5))
    client = call.client if call.protocol in CHUNKED else None

    def told() -> Iterator[bytes]:
        yield sse.refused(error.problem(), retry_ms)
        hang_up(client)

    if call.closes is not None:
        call.closes()
    return Stream(list(STREAM_HEADERS.items()), told(), lambda: None)
