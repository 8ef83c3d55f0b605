"""Content codings (RFC 9110 section 8.4): chooses those of streams, and decodes bodies up to a bound, so that a small
one cannot become gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from pushsvc.calls.call import Call
from pushsvc.concurrency.shares import SharedSlice
from pushsvc.delivery.transports.coding import CODINGS, make_coder
from pushsvc.errors import Invalid, TooLarge, UnsupportedMedia
from pushsvc.events.encoded import EncodedBatch

MOST_BYTES: Final = 8 * 2**20  # of a decoded body: 64 KB could become 64 MB, which costs us far more than its sender
MOST_CODINGS: Final = 3  # on top of each other
_MOST_MEMBERS: Final = 1000  # of a gzip file; an empty one takes 20 bytes
_PIECE: Final = 65536  # bytes read or written between two looks at the time

_GZIP: Final = 16 + zlib.MAX_WBITS
_WINDOWS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


def stream_coding(call: Call) -> str | None:
    """The coding in which the client of a stream wants it, if streams are compressed here at all."""
    if not call.service.settings.compress_streams:
        return None
    accepted = parse_accept_header(call.header("accept-encoding"), Accept)
    best = max(CODINGS, key=accepted.quality)  # the first of equal ones
    quality, plain = accepted.quality(best), dict(accepted).get("identity", 0)
    return best if quality > 0 and quality >= plain else None


def coding_headers(call: Call) -> list[tuple[str, str]]:
    """The headers that say in which coding a stream comes, and that others get another."""
    if not call.service.settings.compress_streams:
        return []
    coding = stream_coding(call)
    return [("Vary", "Accept-Encoding"), *([] if coding is None else [("Content-Encoding", coding)])]


def coded_stream(call: Call, wire: bytes) -> bytes:
    """A stream that is whole already, in the coding that `coding_headers` says."""
    coding = stream_coding(call)
    if coding is None:
        return wire
    coder = make_coder(coding, history=False)
    return coder.encode(EncodedBatch(wire)) + coder.end()


def decoded(body: bytes, codings: str, most: int) -> bytes:
    """Undo the codings of a body. `codings`: the header Content-Encoding. `most`: bytes that the result may have.

    Raises UnsupportedMedia, Invalid, or TooLarge.
    """
    names = [name for each in codings.split(",") if (name := each.strip().lower()) not in ("", "identity")]
    for name in names:
        if name not in _WINDOWS:
            raise UnsupportedMedia(
                f"Content-Encoding: {name[:40]!r} is not understood here; gzip and deflate are.",
                accepts={"Accept-Encoding": "gzip, deflate"},  # RFC 9110 section 15.5.16
            )
    if len(names) > MOST_CODINGS:
        raise UnsupportedMedia(f"Content-Encoding: at most {MOST_CODINGS} codings are taken.")
    for name in reversed(names):  # the header names the codings in the order in which they were applied
        body = _inflated(body, name, min(most, MOST_BYTES))
    return body


def _inflated(body: bytes, name: str, most: int) -> bytes:
    turn, found = SharedSlice(), bytearray()
    try:
        for piece in _pieces(body, name):
            found += piece
            if len(found) > most:
                raise TooLarge(f"The body is larger than this path takes: more than {most} bytes without its {name}.")
            turn.yield_if_over()
    except zlib.error as error:
        raise Invalid.field("Content-Encoding", f"the body is not valid {name}.") from error
    return bytes(found)


def _pieces(body: bytes, name: str) -> Iterator[bytes]:
    """Decode piece by piece; a piece may be empty. Raises zlib.error."""
    window = _WINDOWS[name]
    if name == "deflate" and not _has_zlib_header(body):
        window = -zlib.MAX_WBITS  # as some send it (RFC 9110 section 8.4.1.2)
    members, start = 0, 0
    while start < len(body) or not members:
        if members == (_MOST_MEMBERS if window == _GZIP else 1):
            raise zlib.error("more follows")
        members += 1
        inflate = zlib.decompressobj(window)
        while not inflate.eof:
            given = inflate.unconsumed_tail
            if not given:
                given = body[start : start + _PIECE]
                start += len(given)
            piece = inflate.decompress(given, _PIECE)
            if not (given or piece):
                raise zlib.error("cut off")
            yield piece
        start -= len(inflate.unused_data)


def _has_zlib_header(body: bytes) -> bool:
    """Whether deflate comes in zlib's envelope (RFC 1950 section 2.2)."""
    return len(body) > 1 and body[0] & 15 == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
