"""The worker's own answers, to requests that never reached the application, or were killed in it."""

from __future__ import annotations

import http
from collections.abc import Collection
from typing import Final

import orjson
from gevent import GreenletExit

from pushsvc.addresses import origins
from pushsvc.errors import as_openai
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch
from pushsvc.server.begun import read_begun
from pushsvc.server.request_lines import log_request
from pushsvc.server.wire.unreadable import Unreadable
from pushsvc.telemetry.current import HEADER, begin, current

LONGEST_PATH: Final = 256  # characters of a path in a log line, of a request that may be no request
_STOPPING: Final = 503, "This worker is stopping; try again."
_BUG: Final = 500, "The service made an error; it was logged."


def is_bug(error: BaseException) -> bool:
    """Whether the error is ours."""
    return _answer_to(error) is _BUG


def answer_to(error: BaseException, raw: bytes, allowed_origins: Collection[str], retry_ms: int) -> bytes:
    """Make the whole response, after which the connection ends, and log the request. `raw`: the first bytes of the
    request; `retry_ms`: milliseconds after which an EventSource comes back."""
    head = read_begun(raw)
    request = current() or begin({"x-request-id": head.request_id}.get)
    status, detail = _answer_to(error)
    phrase = http.HTTPStatus(status).phrase
    problem = {"type": "about:blank", "title": phrase.capitalize(), "status": status, "detail": detail}
    kind, body = "application/problem+json", orjson.dumps(problem)
    fields = {
        "Connection": "close",
        "Cache-Control": "no-store",
        HEADER: request.id,
        **origins.cors_headers(head.origin, allowed_origins),
    }
    if status == _STOPPING[0] and head.for_eventsource:
        status, phrase = 200, "OK"
        kind, body = "text/event-stream; charset=utf-8", sse.refused(problem, retry_ms)
        fields["Cache-Control"] = "no-store, no-transform"
        if not head.old:  # without the last chunk, because some clients do not reconnect after a complete response
            fields["Transfer-Encoding"], body = "chunked", EncodedBatch(body).chunk
    elif head.for_openai:
        kind, body = "application/json", orjson.dumps(as_openai(problem, status))
    if status == _STOPPING[0]:
        fields["Retry-After"] = "1"
    fields = {"Content-Type": kind, **fields}
    if "Transfer-Encoding" not in fields:
        fields["Content-Length"] = str(len(body))
    log_request(head.method, head.path[:LONGEST_PATH], status, None)
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (b"" if head.method == "HEAD" else body)


def _answer_to(error: BaseException) -> tuple[int, str]:
    if isinstance(error, Unreadable):
        return error.status, error.detail
    return _STOPPING if isinstance(error, GreenletExit) else _BUG
