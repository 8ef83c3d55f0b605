"""How much structure a JSON text has: how deep it is nested, and of how many values it is made. Found in the text,
without building what it says: 8 MB can say four million values, each of which would take a hundred bytes. Pure.

A text that is no JSON gives no meaningful answer: its reader refuses it.
"""

from __future__ import annotations

from typing import Final

_OTHERS: Final = bytes(set(range(256)) - set(b"[]{},"))
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")


class TooMany(ValueError):
    """The text holds more values than may be."""


def marks(raw: bytes, most: int | None = None) -> bytes:
    """Reduce a text to its brackets outside of strings, braces written as brackets, and its commas.

    `most`: values; raises TooMany if there are more (an empty list or object counts twice).
    """
    bare = raw.replace(b"\\\\", b"").replace(b'\\"', b"")  # the backslash is a letter of strings alone
    if most is not None and bare.count(b'"') > 4 * most:  # two for a string, and its value may have a key
        raise TooMany
    found = b"".join(bare.split(b'"')[::2]).translate(_ALIKE, _OTHERS)
    if most is not None and found.count(b",") + found.count(b"[") >= most:
        raise TooMany
    return found


def is_deeper(found: bytes, most: int) -> bool:
    """Whether lists and objects are nested in each other more than `most` times, in the text with these marks."""
    if found.count(b"[") <= most:
        return False
    nested = found.replace(b",", b"")
    for _ in range(most):  # the innermost are taken away
        outer = nested.replace(b"[]", b"")
        if len(outer) == len(nested):
            return False
        nested = outer
    return b"[]" in nested
