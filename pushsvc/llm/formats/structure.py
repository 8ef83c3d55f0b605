"""Measures the structure of a JSON text: how deep it is nested, and how many values it has. The text is not parsed for
that: 8 MB can hold four million values, each of which would take a hundred bytes of memory. Pure.

For a text that is not JSON the results mean nothing; its parser refuses it.
"""

from __future__ import annotations

from typing import Final

_OTHERS: Final = bytes(set(range(256)) - set(b"[]{},"))
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")


class TooMany(ValueError):
    """The text has too many values."""


def marks(raw: bytes, most: int | None = None) -> bytes:
    """Reduce a text to its brackets and commas outside of strings. Braces are written as brackets.

    `most`: the largest number of values. Raises TooMany if there are more (an empty list or object counts twice).
    """
    bare = raw.replace(b"\\\\", b"").replace(b'\\"', b"")  # in JSON a backslash occurs in strings only
    if most is not None and bare.count(b'"') > 4 * most:  # a value can be a string with a key: four quotation marks
        raise TooMany
    found = b"".join(bare.split(b'"')[::2]).translate(_ALIKE, _OTHERS)
    if most is not None and found.count(b",") + found.count(b"[") >= most:
        raise TooMany
    return found


def is_deeper(found: bytes, most: int) -> bool:
    """Whether lists and objects are nested more than `most` deep. `found`: the text's marks, see `marks`."""
    if found.count(b"[") <= most:
        return False
    nested = found.replace(b",", b"")
    for _ in range(most):  # each round removes the innermost pairs
        outer = nested.replace(b"[]", b"")
        if len(outer) == len(nested):
            return False
        nested = outer
    return b"[]" in nested
