"""The body of a model's response: a stream of events, or one document. The first bytes tell which it is, because many
servers send a wrong `Content-Type`. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Final

from pushsvc.events.sse_parser import Reader

_MARK: Final = b"\xef\xbb\xbf"  # a byte order mark, which UTF-8 does not need
_FIELDS: Final = frozenset({b"", b"data", b"event", b"id", b"retry"})  # the lines of a stream begin with one of these
_GZIP: Final = b"\x1f\x8b"
_EVENT_STREAM: Final = "text/event-stream"


class Unreadable(ValueError):
    """The body is neither a stream of events nor a JSON document, or its content coding is wrong."""


class Body:
    """Parses a body in pieces: gives the data of events, or collects a `document`."""

    __slots__ = ("_document", "_head", "_most_event", "_reader", "_type", "_unpack", "bytes")

    def __init__(self, headers: Mapping[str, str], most: int, most_event: int, *, refusal: bool = False) -> None:
        """`most`: bytes to which one piece may unpack; `most_event`: bytes of one event; `refusal`: the response is an
        error, so the body is a document, whatever it looks like. Raises Unreadable."""
        self._type = headers.get("content-type", "").lower()
        self._unpack = _unpacker(headers.get("content-encoding", ""), most)
        self._most_event = most_event
        self.bytes = 0  # number of bytes so far, unpacked
        self._head: bytes | None = None if refusal else b""  # the first bytes; None: the kind of body is known
        self._document = bytearray()
        self._reader: Reader | None = None

    @property
    def streams(self) -> bool:
        """Whether the body is a stream, or, before that is known, whether its media type says so."""
        return self._reader is not None or (self._head is not None and _EVENT_STREAM in self._type)

    def feed(self, piece: bytes) -> list[bytes]:
        """Take a piece, and give the data of the events that it completes. Raises Unreadable, or TooLong."""
        if self._unpack is not None:
            piece = self._unpack.feed(piece)
        self.bytes += len(piece)
        if self._reader is not None:
            return self._reader.feed(piece)
        if self._head is None:
            self._document += piece
            return []
        head = (self._head + piece).removeprefix(_MARK).lstrip()  # some servers send blanks until they have an answer
        kind = self._kind(head)
        if kind is None:
            self._head = head
            return []
        self._head = None
        if kind:
            self._reader = Reader(self._most_event)
            return self._reader.feed(head)
        self._document += head
        return []

    def _kind(self, start: bytes) -> bool | None:
        """Whether the body is a stream. False: it is a document. None: too few bytes have come to tell. Raises
        Unreadable."""
        if start.startswith((b"{", b"[")):
            return False
        if not start or _MARK.startswith(start):
            return None
        if _EVENT_STREAM in self._type and not start.startswith(b"<"):
            return True
        line, ended, _ = start.partition(b"\n")
        field, colon, _ = line.partition(b":")
        if (colon or ended) and field.strip() in _FIELDS:
            return True
        if not (colon or ended) and any(each.startswith(field) for each in _FIELDS):
            return None
        raise Unreadable(f"The model answered with {self._type.partition(';')[0].strip() or 'nothing known'}.")

    def finish(self) -> list[bytes]:
        """Handle the end of the body: give the data of the last event if only the blank line after it is missing."""
        return [] if self._reader is None else self._reader.finish()

    @property
    def document(self) -> bytes | None:
        """All of the body. None: it is a stream."""
        if self.streams:
            return None
        return bytes(self._document or self._head or b"").removeprefix(_MARK)


class Unpacker:
    """Decompresses gzip, also in several members, and deflate, piece by piece. Stops after `most` + 1 bytes of output
    for one piece, so that the caller sees that it is too long."""

    __slots__ = ("_complete", "_most", "_start", "_zlib")

    def __init__(self, most: int) -> None:
        self._most = most
        self._start = b""  # first bytes of a member, too few to know its format
        self._zlib: Any = None
        self._complete = False  # a member is complete

    def feed(self, piece: bytes) -> bytes:
        """Take a piece, and give its decompressed bytes. Raises Unreadable."""
        plain, rest = b"", self._start + piece
        self._start = b""
        while rest and len(plain) <= self._most:
            if self._zlib is None and len(rest) < len(_GZIP):
                self._start = rest
                break
            if self._zlib is None:
                if self._complete and not rest.startswith(_GZIP):
                    break  # padding
                self._zlib = zlib.decompressobj(_window(rest))
            try:
                plain += self._zlib.decompress(rest, self._most + 1 - len(plain))
            except zlib.error as error:
                raise Unreadable("The model's answer is not packed as it says.") from error
            rest = self._zlib.unused_data
            if self._zlib.eof:
                self._zlib, self._complete = None, True
        return plain


def _window(start: bytes) -> int:
    """The format, as zlib's `wbits`. Some servers send deflate without the zlib envelope (RFC 9110 section 8.4.1.2)."""
    if start.startswith(_GZIP):
        return 16 + zlib.MAX_WBITS
    enveloped = start[0] & 15 == 8 and int.from_bytes(start[:2]) % 31 == 0
    return zlib.MAX_WBITS if enveloped else -zlib.MAX_WBITS


def _unpacker(encoding: str, most: int) -> Unpacker | None:
    named = {each.strip().lower() for each in encoding.split(",")} - {"", "identity"}
    if not named:
        return None
    if named <= {"gzip", "x-gzip", "deflate"} and len(named) == 1:
        return Unpacker(most)
    raise Unreadable("The model's answer is packed in a way that nobody asked for.")
