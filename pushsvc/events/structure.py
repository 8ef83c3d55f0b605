"""Measures the structure of a JSON text: how deep it is nested, and how many values it has. The text is not parsed for
that: 8 MB can hold four million values, each of which would take a hundred bytes of memory. Pure.

For a text that is not JSON the results mean nothing; its parser refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

_OTHERS: Final = bytes(set(range(256)) - set(b"[]{},"))
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_STEPS: Final = bytes.maketrans(b"[]", b"\x01\xff")  # as signed bytes: one deeper, one less deep
_PIECE: Final = 2**16  # bytes that are looked at in one go, which takes less than a millisecond


class TooMany(ValueError):
    """The text has too many values."""


class TooDeep(ValueError):
    """Lists and objects are nested too deeply in the text."""


def check(raw: bytes, *, depth: int, values: int | None = None, pause: Callable[[], None] = lambda: None) -> None:
    """Check that a text is nested at most so deep, and has at most so many values (an empty list or object counts
    twice). `pause` is called between pieces of the text. Raises TooMany or TooDeep."""
    level = count = 0
    for _, marks in _marks(raw, 0):
        opened = marks.count(b"[")
        count += opened + marks.count(b",")
        if values is not None and count >= values:
            raise TooMany
        if level + opened > depth and max(_levels(marks, level)) > depth:
            raise TooDeep
        level += opened - marks.count(b"]")
        pause()


def end_of(raw: bytes, at: int, values: int, pause: Callable[[], None]) -> int:
    """Find a place behind the list or object that begins at a place of a text, and not far behind it. Raises TooMany if
    that has more values. `pause`: see `check`."""
    level = count = 0
    for end, marks in _marks(raw, at):
        if min(_levels(marks, level)[1:], default=1) < 1:
            return end
        count += len(marks)
        if count > 2 * values:  # each has a comma, or two brackets
            raise TooMany
        level += marks.count(b"[") - marks.count(b"]")
        pause()
    return len(raw)


def is_deeper(raw: bytes, most: int) -> bool:
    """Whether lists and objects are nested more than `most` deep in a text."""
    try:
        check(raw, depth=most)
    except TooDeep:
        return True
    return False


def _marks(raw: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Reduce a text, from a place outside of strings on, to its brackets and commas outside of strings: piece by piece,
    each with the place where it ends. Braces are written as brackets."""
    inside = False  # a string
    while at < len(raw):
        piece = raw[at : at + _PIECE]
        at += len(piece)
        if (len(piece) - len(piece.rstrip(b"\\"))) & 1 and at < len(raw):
            piece, at = piece[:-1], at - 1  # a backslash goes with what it escapes
        # In JSON a backslash occurs in strings only.
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield at, b"".join(parts[inside::2]).translate(_ALIKE, _OTHERS)
        inside ^= not len(parts) & 1


def _levels(marks: bytes, level: int) -> list[int]:
    """The depth before and after each bracket."""
    return list(accumulate(memoryview(marks.translate(_STEPS, b",")).cast("b"), initial=level))
