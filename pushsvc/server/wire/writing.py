"""Writes the answers of calls that did not need a WSGI application."""

from __future__ import annotations

import http
import time
from email.utils import formatdate
from typing import Final

from gunicorn import SERVER

from pushsvc.calls.answers import Answer, Headers, Stream, Upgrade
from pushsvc.server.request_lines import log_request
from pushsvc.server.wire.connection import Connection
from pushsvc.server.wire.request import Request
from pushsvc.server.wire.unreadable import Unreadable

_PHRASES: Final = {status.value: status.phrase.upper() for status in http.HTTPStatus}


class _Clock:
    """The lines that all responses of a second share."""

    second = -1
    lines = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self.second:
            self.second = second
            self.lines = f"Server: {SERVER}\r\nDate: {formatdate(second, usegmt=True)}\r\n"
        return self.lines


_CLOCK: Final = _Clock()


def write(connection: Connection, request: Request, answer: Answer | Stream | Upgrade, began: float) -> None:
    """Write a response, and log the request. `began`: the monotonic time at which its head had come. Raises OSError if
    the client is gone, and what the pieces of a stream raise."""
    try:
        if isinstance(answer, Answer):
            write_answer(connection, request, answer)
        elif isinstance(answer, Upgrade):
            write_upgrade(connection, request, answer)
        else:
            write_stream(connection, request, answer)
    finally:
        log_request(request.method, request.path, answer.status, time.monotonic() - began)


def write_answer(connection: Connection, request: Request, answer: Answer) -> None:
    """Write a whole response. Raises OSError if the client is gone."""
    status, fields, body = answer
    if status != http.HTTPStatus.NO_CONTENT:
        fields = [*fields, ("Content-Length", str(len(body)))]
    connection.answered = True
    connection.send(_head(request, status, fields) + body)


def write_stream(connection: Connection, request: Request, stream: Stream) -> None:
    """Write a response piece by piece. Raises what its pieces raise, and OSError if the client is gone."""
    chunked = request.head.protocol == "HTTP/1.1"
    if chunked:
        fields = [*stream.headers, ("Transfer-Encoding", "chunked")]
    else:
        fields = stream.headers
        request.force_close()  # which is how the client knows the end
    try:
        unsent = _head(request, stream.status, fields)
        for piece in stream.pieces:
            if piece:
                connection.answered = True
                connection.send(b"%b%x\r\n%b\r\n" % (unsent, len(piece), piece) if chunked else unsent + piece)
                unsent = b""
        if unsent or chunked:
            connection.answered = True
            connection.send(unsent + b"0\r\n\r\n" if chunked else unsent)
    finally:
        stream.close()


def write_upgrade(connection: Connection, request: Request, upgrade: Upgrade) -> None:
    """Write the answer to a WebSocket's handshake, and then its frames, after which the connection ends. Raises as
    `write_stream` does, and Unreadable if frames came before the answer (RFC 6455 section 4.1)."""
    request.force_close()
    try:
        if connection.has(1):
            raise Unreadable
        unsent = _head(request, http.HTTPStatus.SWITCHING_PROTOCOLS, upgrade.headers, "Upgrade")
        for piece in upgrade.pieces:
            if unsent or piece:
                connection.answered = True
                connection.send(unsent + piece)
                unsent = b""
    finally:
        upgrade.close()


def _head(request: Request, status: int, fields: Headers, connection: str | None = None) -> bytes:
    connection = connection or ("close" if request.should_close() else "keep-alive")
    lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
    line = f"{request.head.protocol} {status:d} {_PHRASES.get(status, '')}\r\n"
    return f"{line}{_CLOCK.now()}Connection: {connection}\r\n{lines}\r\n".encode("latin-1")
