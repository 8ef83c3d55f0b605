"""Compression of streams: each piece can be read as soon as it has come.

Streams of events share what is compressed: a batch is made once for all streams of a coding, without reference to what
came before, so a stream costs no memory. An answer of a model has one listener, and its tokens are small and alike:
there a window of a kilobyte takes nine tenths off, for some twelve kilobytes a stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, Protocol

import zstandard

from pushsvc.events.encoded import EncodedBatch

_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # of a gzip member without a name and a time (RFC 1952)
_LAST_BLOCK: Final = b"\x03\x00"  # an empty block that says it is the last (RFC 1951)
_LEVEL: Final = 6
_ALONE: Final = -zlib.MAX_WBITS  # deflate without an envelope; the memory is free again at once
_WINDOW: Final = -10  # bits, so 1 KiB: two to five tokens with their frames
_MEMORY: Final = 1
_ZSTD: Final = zstandard.ZstdCompressionParameters.from_level(
    1, window_log=10, write_content_size=False, write_checksum=False, write_dict_id=False
)


class Coder(Protocol):
    """Encodes the bytes of one stream, in order."""

    def encode(self, batch: EncodedBatch) -> bytes:
        """The batch in the coding, up to its last byte."""

    def end(self) -> bytes:
        """The bytes that end the coding properly."""


def _deflated(wire: bytes) -> bytes:
    """One or more deflate blocks that refer to nothing before them, and end at a whole byte (RFC 1951)."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _ALONE)
    return deflate.compress(wire) + deflate.flush(zlib.Z_SYNC_FLUSH)


class _Gzip:
    """One gzip member around blocks (RFC 1952): its end tells the sum and the length of all."""

    __slots__ = ("_crc", "_size")

    def __init__(self) -> None:
        self._crc, self._size = 0, -1  # -1: the head was not sent yet

    def _block(self, batch: EncodedBatch) -> bytes:
        return batch.coded("gzip", _deflated)

    def _last(self) -> bytes:
        return _LAST_BLOCK

    def encode(self, batch: EncodedBatch) -> bytes:
        """See Coder."""
        head = _HEAD if self._size < 0 else b""
        self._crc = zlib.crc32(batch.wire, self._crc)
        self._size = max(self._size, 0) + len(batch.wire)
        return head + self._block(batch)

    def end(self) -> bytes:
        """See Coder."""
        tail = self._crc.to_bytes(4, "little") + (max(self._size, 0) & 0xFFFFFFFF).to_bytes(4, "little")
        return (_HEAD if self._size < 0 else b"") + self._last() + tail


class _GzipWithHistory(_Gzip):
    __slots__ = ("_deflate",)

    def __init__(self) -> None:
        super().__init__()
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY)

    def _block(self, batch: EncodedBatch) -> bytes:
        return self._deflate.compress(batch.wire) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def _last(self) -> bytes:
        return self._deflate.flush()


_zstd: Final = zstandard.ZstdCompressor(compression_params=_ZSTD)


class _Zstd:
    """A frame for each batch (RFC 8878): frames may follow one another."""

    __slots__ = ()

    def encode(self, batch: EncodedBatch) -> bytes:
        """See Coder."""
        return batch.coded("zstd", _zstd.compress)

    def end(self) -> bytes:
        """See Coder."""
        return b""


class _ZstdWithHistory:
    """One frame for the stream."""

    __slots__ = ("_frame",)

    def __init__(self) -> None:
        self._frame = zstandard.ZstdCompressor(compression_params=_ZSTD).compressobj()

    def encode(self, batch: EncodedBatch) -> bytes:
        """See Coder."""
        return self._frame.compress(batch.wire) + self._frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def end(self) -> bytes:
        """See Coder."""
        return self._frame.flush()


CODINGS: Final = ("gzip", "zstd")  # gzip first: its state is the smaller
_SHARED: Final[dict[str, Callable[[], Coder]]] = {"gzip": _Gzip, "zstd": _Zstd}
_WITH_HISTORY: Final[dict[str, Callable[[], Coder]]] = {"gzip": _GzipWithHistory, "zstd": _ZstdWithHistory}


def make_coder(coding: str, *, history: bool) -> Coder:
    """A coder for a new stream. `history`: it is unlike others, and may refer to what came before."""
    return (_WITH_HISTORY if history else _SHARED)[coding]()
