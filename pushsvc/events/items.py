"""Reads a long JSON array item by item, so that what follows a bad item costs nothing, and others have their turns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from pushsvc.events import exact_json, structure
from pushsvc.events.exact_json import NotJson

_BLANKS: Final = re.compile(rb"[ \t\r\n]*")
_WINDOW: Final = 2**14  # bytes in which most items end


def is_array(raw: bytes) -> bool:
    """Whether a JSON text is an array."""
    at = _after_blanks(raw, 0)
    return raw[at : at + 1] == b"["


def items_of(raw: bytes, *, longest: int, values: int, pause: Callable[[], None]) -> Iterator[Any]:
    """Read the items of a JSON array, as `exact_json.loads_items` does. `longest`: bytes of an item, `values`: in an
    item; `pause` is called between pieces of the work.

    Raises NotJson, structure.TooMany, or ItemTooLong.
    """
    at = _after_blanks(raw, _after_blanks(raw, 0) + 1)
    if raw[at : at + 1] == b"]":
        at += 1
    else:
        while True:
            value, end = _item(raw, at, longest, values, pause)
            yield value
            pause()
            at = _after_blanks(raw, end)
            mark = raw[at : at + 1]
            at = _after_blanks(raw, at + 1)
            if mark == b"]":
                break
            if mark != b",":
                raise _error("Expecting ',' delimiter", end)
    if at != len(raw) and _after_blanks(raw, at) != len(raw):
        raise _error("Extra data", at)


class ItemTooLong(ValueError):
    """An item has more bytes than any may have."""


def _item(raw: bytes, at: int, longest: int, values: int, pause: Callable[[], None]) -> tuple[Any, int]:
    """Read the item that begins at a place, and give the place behind it."""
    found = _in_window(raw, at, at + _WINDOW)
    if isinstance(found, tuple):
        return found
    end = structure.end_of(raw, at, values, pause)
    found = _in_window(raw, at, min(end, at + longest))
    if isinstance(found, tuple):
        return found
    if end > at + longest:
        raise ItemTooLong
    raise _error(found.msg, at + len(found.doc[: found.pos].encode()))


def _in_window(raw: bytes, at: int, end: int) -> tuple[Any, int] | json.JSONDecodeError:
    """Read a value that ends before `end`, or give the error."""
    while at < end < len(raw) and raw[end] & 0xC0 == 0x80:  # not inside of a character
        end -= 1
    try:
        text = raw[at:end].decode()
        value, length = exact_json.read_item(text)
    except json.JSONDecodeError as error:
        return error
    except UnicodeDecodeError as error:
        raise NotJson(f"it is not valid UTF-8: {error.reason} at byte {at + error.start}") from error
    if length == len(text) and end < len(raw):  # a number may go on
        return json.JSONDecodeError("Expecting ',' delimiter", text, length)
    return value, at + len(text[:length].encode())


def _after_blanks(raw: bytes, at: int) -> int:
    match = _BLANKS.match(raw, at)
    return at if match is None else match.end()


def _error(message: str, at: int) -> NotJson:
    return NotJson(f"{message}: byte {at}")
