"""Temporary refusals on the paths of streams. An EventSource gives up for good at any status but 200, so a temporary
refusal is told to it in a stream, with the time after which to reconnect."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Final

from flask import Response, request
from flask.typing import ResponseReturnValue

from pushsvc.delivery.transports.handover import CLOSES
from pushsvc.delivery.transports.hangup import MOST_SAID_BYTES, hang_up
from pushsvc.errors import Later, TooLarge, Unavailable
from pushsvc.events import sse
from pushsvc.storage.tickets import LostRace
from pushsvc.web.http.current import service

STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}
CHUNKED: Final = {"HTTP/1.0": False, "HTTP/1.1": True}  # how responses without a length are framed, by protocol


def resumable(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Decorate the view of a stream. A worker that is full or stopping refuses before anything else is done, and an
    EventSource is told temporary refusals in a stream."""

    @wraps(view)
    def answer(**names: str) -> ResponseReturnValue:
        try:
            service().capacity.check()
            if (request.content_length or 0) > MOST_SAID_BYTES:
                raise TooLarge(f"A body means nothing here; it may be of {MOST_SAID_BYTES} bytes.")
            return _of_one_ticket(view, names)
        except Later as error:
            _keep_ticket()
            if not _comes_back():
                raise
            return _refused(error)

    return answer


def _of_one_ticket(view: Callable[..., ResponseReturnValue], names: dict[str, str]) -> ResponseReturnValue:
    """Call the view, and once more if another request used the same ticket at the same time. The last request gets the
    stream, as if it had come later."""
    try:
        return view(**names)
    except LostRace:
        return view(**names)


def _comes_back() -> bool:
    """Whether the client is an EventSource, which reconnects. OpenAI's clients accept the same type, but send POST, and
    would take the stream for the model's answer."""
    return request.method == "GET" and "text/event-stream" in map(str.lower, request.accept_mimetypes.values())


def _keep_ticket() -> None:
    """Keep the request's ticket alive for another minute, so that the refused client can come back with it."""
    ticket = request.args.get("ticket")
    if ticket:
        with contextlib.suppress(Unavailable):
            service().partition_of(ticket).tickets.keep(ticket)


def _refused(error: Later) -> Response:
    """Tell the refusal in a stream. The connection is cut without the stream's end, because some clients do not
    reconnect after a clean end."""
    retry_ms = int(error.retry_after * 1000 * random.uniform(0.5, 1.5))
    client = request.environ.get("gunicorn.socket") if request.environ["SERVER_PROTOCOL"] in CHUNKED else None

    def told() -> Iterator[bytes]:
        yield sse.refused(error.problem(), retry_ms)
        hang_up(client)

    if CLOSES in request.environ:
        request.environ[CLOSES]()
    return Response(told(), headers=STREAM_HEADERS)
