"""The body of a request (RFC 9112 sections 6 and 7): received as it is read, so a client that sends faster waits."""

from __future__ import annotations

import io
import re
from typing import Final, Protocol

from pushsvc.server.wire.connection import PIECE_BYTES, Connection
from pushsvc.server.wire.head import Head
from pushsvc.server.wire.unreadable import BrokenBody

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# Section 7.1, without the blanks in extensions that it tells receivers to bear: llhttp refuses them, too.
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*")
_TRAILER: Final = re.compile(_TOKEN + b":" + _VALUE)
_LONGEST_LINE: Final = 8192  # bytes, of a chunk's size and extensions, and of a trailer
_MOST_TRAILERS: Final = 64


class Body(Protocol):
    """A body that is still on its way."""

    @property
    def broken(self) -> bool:
        """Whether nobody knows where the body ends."""

    @property
    def left(self) -> int:
        """The bytes that are still to come, as far as that is known."""

    def receive(self, most: int) -> bytes:
        """Give the next bytes, at most so many; b'' at the end. Raises BrokenBody."""


class LengthBody:
    """A body of a known length."""

    __slots__ = ("_connection", "broken", "left")

    def __init__(self, connection: Connection, length: int) -> None:
        self._connection = connection
        self.left = length
        self.broken = False

    def receive(self, most: int) -> bytes:
        """See Body."""
        if not self.left:
            return b""
        try:
            piece = self._connection.take(min(most, self.left))
        except BrokenBody:
            self.broken = True
            raise
        self.left -= len(piece)
        return piece


class ChunkedBody:
    """A body in chunks. Their extensions and the trailers are dropped: nothing in them can change a request whose head
    was read long before."""

    __slots__ = ("_broken", "_connection", "_ended", "_left")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left = 0  # bytes of the chunk
        self._ended = False
        self._broken: BrokenBody | None = None

    @property
    def broken(self) -> bool:
        """See Body."""
        return self._broken is not None

    @property
    def left(self) -> int:
        """See Body."""
        return self._left

    def receive(self, most: int) -> bytes:
        """See Body. A broken body stays broken: what follows the place of the error could pass for another request."""
        if self._broken is not None:
            raise self._broken
        try:
            return self._receive(most)
        except BrokenBody as error:
            self._broken = error
            raise

    def _receive(self, most: int) -> bytes:
        """Give what has arrived of several chunks in one piece: a million chunks of a byte are not a million turns."""
        pieces: list[bytes] = []
        while most and not self._ended and (not pieces or self._connection.has(1)):
            if not self._left:
                self._begin_chunk()
                continue
            piece = self._connection.take(min(most, self._left))
            self._left -= len(piece)
            most -= len(piece)
            pieces.append(piece)
            if not self._left and self._connection.take_line(0):
                raise BrokenBody("a chunk is longer than it says")
            self._connection.turn.yield_if_over()
        return b"".join(pieces)

    def _begin_chunk(self) -> None:
        found = _CHUNK.fullmatch(self._connection.take_line(_LONGEST_LINE))
        if found is None:
            raise BrokenBody("a chunk's size is malformed")
        self._left = int(found[1], 16)
        if not self._left:
            self._skip_trailers()
            self._ended = True

    def _skip_trailers(self) -> None:
        for _ in range(_MOST_TRAILERS):
            line = self._connection.take_line(_LONGEST_LINE)
            if not line:
                return
            if _TRAILER.fullmatch(line) is None:
                raise BrokenBody("a trailer is malformed")
        raise BrokenBody("the trailers are too many")


class Expected:
    """A body that the client sends only once it was told to go on, which is when it is first read."""

    __slots__ = ("_body", "_connection", "asked")

    def __init__(self, connection: Connection, body: Body) -> None:
        self._connection = connection
        self._body = body
        self.asked = connection.has(1)  # the client did not wait

    @property
    def broken(self) -> bool:
        """See Body."""
        return self._body.broken

    @property
    def left(self) -> int:
        """See Body."""
        return self._body.left

    def receive(self, most: int) -> bytes:
        """See Body."""
        if not self.asked:
            self.asked = True
            if not self._connection.answered:
                self._connection.send(_CONTINUE)
        return self._body.receive(most)


def body_of(connection: Connection, head: Head) -> Body | None:
    """Make the body that follows a head. None: there is none."""
    if head.length == 0:
        return None
    body = ChunkedBody(connection) if head.length is None else LengthBody(connection, head.length)
    return Expected(connection, body) if head.expects else body


class _Raw(io.RawIOBase):
    def __init__(self, connection: Connection, body: Body) -> None:
        self._connection = connection
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._body.receive(len(buffer))
        self._connection.turn.yield_if_over()  # a client that sends fast would never let others in
        buffer[: len(piece)] = piece
        return len(piece)


def as_input(connection: Connection, body: Body | None) -> io.BufferedIOBase:
    """Make WSGI's `wsgi.input`. A small body that has arrived whole is taken at once."""
    if body is None:
        return io.BytesIO()
    if isinstance(body, LengthBody) and body.left <= PIECE_BYTES and connection.has(body.left):
        return io.BytesIO(body.receive(body.left))
    return io.BufferedReader(_Raw(connection, body), PIECE_BYTES)
