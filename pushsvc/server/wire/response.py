"""The response to a request that a WSGI application answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from gunicorn.http.wsgi import Response

from pushsvc.server.wire.connection import Connection

_JOINED_BYTES: Final = 65536  # a longer piece is not copied behind the head: it is sent by itself


class WireResponse(Response):
    """Gunicorn's response (PEP 3333), except that the head goes out together with the first bytes of the body."""

    status_code: int
    headers_sent: bool  # also if the head still waits for the first bytes of the body

    def __init__(self, request: Any, client: Any, settings: Any, connection: Connection) -> None:
        super().__init__(request, client, settings)
        self._connection = connection
        self._unsent = b""
        self._by_kernel = False  # a file was sent, whose bytes gunicorn does not count

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Take the head from the application (PEP 3333). After an error it replaces one that was not sent."""
        if exc_info and not self.headers_sent:
            self.status = self.response_length = None
            self.headers.clear()
        return super().start_response(status, headers, exc_info)

    @staticmethod
    def _response_omits_body(method: str, status: int) -> bool:
        """Whether there is no body; gunicorn's hook. After 101 come the frames of a WebSocket."""
        return status != HTTPStatus.SWITCHING_PROTOCOLS and Response._response_omits_body(method, status)  # noqa: SLF001

    def is_chunked(self) -> bool:
        """Whether the body is in chunks; gunicorn's hook."""
        return self.status_code != HTTPStatus.SWITCHING_PROTOCOLS and bool(super().is_chunked())

    def write(self, piece: bytes) -> None:
        """Send a piece of the body. An empty one does not send the head yet (PEP 3333, "Handling the Content-Length
        Header")."""
        if piece or not isinstance(piece, bytes):
            super().write(piece)

    def send_headers(self) -> None:
        """Make the head, which is sent with the next bytes; gunicorn's hook."""
        if self.headers_sent:
            return
        lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
        self._unsent = "".join(lines).encode("latin-1")
        self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        """Send bytes of the body; gunicorn's hook."""
        if self.chunked:
            data = b"%X\r\n%b\r\n" % (len(data), data)
        self._flush(data)

    def _flush(self, data: bytes = b"") -> None:
        unsent, self._unsent = self._unsent, b""
        self._connection.answered = True
        if unsent and len(data) > _JOINED_BYTES:
            self._connection.send(unsent)
            unsent = b""
        if unsent or data:
            self._connection.send(unsent + data if unsent else data)

    def sendfile(self, file: Any) -> bool:
        """Send a file by the kernel, if that is possible; gunicorn's hook."""
        if not self.can_sendfile():  # else gunicorn's method sends the head
            return False
        self.send_headers()
        self._flush()
        self._by_kernel = super().sendfile(file)
        return self._by_kernel

    def close(self) -> None:
        """End the body. One that is shorter than it says is cut, or the client would wait for the rest."""
        self.send_headers()
        short = self.response_length is not None and self.sent < self.response_length
        if short and not (self._omits_body or self._by_kernel):
            self.force_close()
        self._flush(b"0\r\n\r\n" if self.chunked else b"")
