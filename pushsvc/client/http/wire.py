"""An HTTP/1.1 answer that comes while its request is still being sent (RFC 9112). Pure."""

from __future__ import annotations

import http.client
import io
from typing import Final

_MOST_HEAD: Final = 65536  # bytes


class BadAnswer(http.client.HTTPException):
    """The bytes that came are no answer in HTTP/1.1."""


class Answer:
    """The head, then the body as it comes. `status` is None until the head is whole."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers = http.client.HTTPMessage()
        self.complete = False
        self._buffer = b""
        self._left: int | None = None  # of the body, or of a chunk; None: up to the close
        self._chunked = False

    def feed(self, piece: bytes) -> bytes:
        """The part of the body that is known with this piece. Raises BadAnswer."""
        self._buffer += piece
        while self.status is None or 100 <= self.status < 200:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                if len(self._buffer) > _MOST_HEAD:
                    raise BadAnswer("the head of an answer has no end")
                return b""
            self._buffer = rest
            self._read_head(head)
        return b"".join(iter(self._chunk, b"")) if self._chunked else self._plain()

    def end(self) -> None:
        """The connection was closed."""
        self.complete = self.complete or (self.status is not None and not self._chunked and self._left is None)

    def _read_head(self, head: bytes) -> None:
        line, _, fields = head.partition(b"\r\n")
        words = line.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not (words[1].isdigit() and len(words[1]) == 3):
            raise BadAnswer("what answers speaks no HTTP/1.1")
        self.headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
        self.status = int(words[1])
        self._chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        length = self.headers.get("Content-Length", "")
        self._left = 0 if self._chunked else int(length) if length.isdigit() else None
        self.complete = not self._chunked and self._left == 0

    def _plain(self) -> bytes:
        body, self._buffer = self._buffer, b""
        if self._left is not None:
            body = body[: self._left]
            self._left -= len(body)
            self.complete = self._left == 0
        return body

    def _chunk(self) -> bytes:
        """The next piece of a chunk; b'': none has come."""
        if self.complete:
            return b""
        if self._left == 0:
            line, found, rest = self._buffer.partition(b"\r\n")
            if found and not line:  # the end of the chunk before
                line, found, rest = rest.partition(b"\r\n")
            if not found:
                return b""
            try:
                self._left = int(line.partition(b";")[0], 16)
            except ValueError:
                raise BadAnswer("a chunk of an answer has no length") from None
            self._buffer = rest
            if self._left == 0:
                self.complete = True
                return b""
        assert self._left is not None
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(piece)
        return piece
