"""The worker's own answers: to requests that never reached the application, or were killed in it."""

from __future__ import annotations

import http
import json
import ssl
from typing import Final

from gevent import GreenletExit
from gunicorn.http import errors

from pushsvc.keepalive import SlowHead

_STOPPING: Final = 503, "This worker is stopping; try again."
_BUG: Final = 500, "The service made an error; it was logged."
_MALFORMED: Final = 400, "The request is malformed."
_ANSWERS: Final[dict[type[BaseException], tuple[int, str]]] = {
    GreenletExit: _STOPPING,
    SlowHead: (408, "The request's head took too long."),
    errors.InvalidResponseHeader: _BUG,
    errors.InvalidResponseHeaderName: _BUG,
    errors.LimitRequestLine: (414, "The request's first line is too long."),
    errors.LimitRequestHeaders: (431, "The request's headers are too long, or too many."),
    errors.ExpectationFailed: (417, "Expect: may be 100-continue, and nothing else."),
    errors.UnsupportedTransferCoding: (501, "Transfer-Encoding: may be chunked, and nothing else."),
    errors.ForbiddenProxyRequest: (403, "This address may not speak the PROXY protocol."),
    errors.ParseException: _MALFORMED,
    ssl.SSLError: _MALFORMED,
}


def is_bug(error: BaseException) -> bool:
    """Nobody but us can be to blame."""
    return _answer_to(error) is _BUG


def answer_to(error: BaseException) -> bytes:
    """All of a response, after which the connection ends."""
    status, detail = _answer_to(error)
    phrase = http.HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": phrase.capitalize(), "status": status, "detail": detail})
    retry = "Retry-After: 1\r\n" if status == 503 else ""
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n{retry}Cache-Control: no-store\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def _answer_to(error: BaseException) -> tuple[int, str]:
    return next((_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS), _BUG)
