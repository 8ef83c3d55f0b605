"""Reads the data of events from a stream of server-sent events (WHATWG HTML section 9.2.6)."""

from __future__ import annotations


class TooLong(ValueError):
    """An event is longer than allowed."""


class Reader:
    """Extracts the data of the events in a stream that arrives in pieces of any size (WHATWG HTML section 9.2.6); all
    other fields are skipped."""

    __slots__ = ("_after_cr", "_most", "_rest")

    def __init__(self, most: int) -> None:
        """`most`: the most bytes that one event may have."""
        self._most = most
        self._rest: bytes | bytearray = b""  # grows in place: an event may come byte by byte
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that are complete with this piece. Raises TooLong."""
        if piece.startswith(b"data: ") and piece.find(b"\n") == len(piece) - 2 and self._plain(piece):
            return [piece[6:-2]]  # the usual case: one whole event
        if self._after_cr:  # the last piece ended in CR, which ended a line; an LF here belongs to it
            piece, self._after_cr = piece.removeprefix(b"\n"), not piece
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        rest, known = bytearray() if not self._rest else self._rest, len(self._rest)
        rest += piece
        blocks, self._rest = [], rest
        if rest.find(b"\n\n", max(0, known - 1)) >= 0:
            *blocks, last = bytes(rest).split(b"\n\n")
            self._rest = bytearray(last) if last else b""
        if len(self._rest) > self._most or any(len(block) > self._most for block in blocks):
            raise TooLong(f"an event is longer than {self._most} bytes")
        return [data for data in map(_data, blocks) if data is not None]

    def _plain(self, piece: bytes) -> bool:
        return (
            not (self._rest or self._after_cr or b"\r" in piece) and piece.endswith(b"\n") and len(piece) <= self._most
        )

    def finish(self) -> list[bytes]:
        """The data of the last event when the stream ends, if only the blank line after it is missing."""
        last, self._rest = _data(bytes(self._rest)), b""
        return [] if last is None else [last]


def _data(block: bytes) -> bytes | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return block[6:]
    lines = []
    for line in block.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None
