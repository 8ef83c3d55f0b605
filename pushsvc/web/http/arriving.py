"""Reads a request's body as it comes. WSGI's `read(size)` waits for all of `size` (PEP 3333)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from gevent.queue import Empty, Queue
from gunicorn.http.body import Body, ChunkedReader, LengthReader

from pushsvc.concurrency.shares import spawn_owned

PIECE_BYTES: Final = 65536  # given at a time: bounds what is parsed and held at once
LINE_BYTES: Final = 65536  # read at a time where a server knows no other way than lines


class ArrivingBody:
    """A body that a greenlet of its own reads, a piece ahead. Nothing else may read it from then on."""

    def __init__(self, stream: Any) -> None:
        """`stream`: the environment's `wsgi.input`."""
        self._pieces: Queue[bytes | Exception] = Queue(1)
        self._reader = spawn_owned(self._read_all, stream)

    def begin(self, seconds: float) -> bool:
        """Wait until the first piece is there, or the end. False: it is not, after so many seconds. Raises as `read`
        does."""
        try:
            first: bytes | Exception = self._pieces.peek(timeout=seconds)
        except Empty:
            return False
        if isinstance(first, Exception):
            raise first
        return True

    def read(self, seconds: float) -> bytes | None:
        """Give the next piece; b'' at the end; None if nothing came for so many seconds. Raises OSError, or gunicorn's
        ParseException: the body is cut off, or malformed."""
        try:
            piece: bytes | Exception = self._pieces.get(timeout=seconds)
        except Empty:
            return None
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        """Read no more. Harmless when repeated."""
        self._reader.kill()

    def _read_all(self, stream: Any) -> None:
        try:
            for piece in _pieces(stream):
                for place in range(0, len(piece), PIECE_BYTES):
                    self._pieces.put(piece[place : place + PIECE_BYTES])
        except Exception as error:  # noqa: BLE001  # raised by `read`
            self._pieces.put(error)
        else:
            self._pieces.put(b"")


def _pieces(stream: Any) -> Iterator[bytes]:
    if hasattr(stream, "read1"):
        while piece := stream.read1(PIECE_BYTES):
            yield piece
        return
    reader = getattr(stream, "reader", None)
    if not isinstance(stream, Body) or not isinstance(reader, ChunkedReader | LengthReader):
        while line := stream.readline(LINE_BYTES):
            yield line
        return
    try:
        yield from filter(None, _chunks(reader) if isinstance(reader, ChunkedReader) else _up_to_length(reader))
    except Exception:
        stream.failed = True  # gunicorn's: where the next request begins is unknown
        raise


def _chunks(reader: Any) -> Iterator[bytes]:
    while reader.parser is not None:
        try:
            yield bytes(next(reader.parser))
        except StopIteration:
            reader.parser = None


def _up_to_length(reader: Any) -> Iterator[bytes]:
    while reader.length > 0:
        piece = bytes(reader.unreader.read(None, read_ahead=reader.length))
        if not piece:
            raise ConnectionResetError("the body is cut off")
        if len(piece) > reader.length:
            reader.unreader.unread(piece[reader.length :])
            piece = piece[: reader.length]
        reader.length -= len(piece)
        yield piece
