"""The members of a JSON object with the text that says each, so that some can be read and changed while the others stay
as they are: their digits, their doubled keys, and the time that it would take to build them anew. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from pushsvc.events import exact_json
from pushsvc.events.exact_json import NotJson

MOST_MEMBERS: Final = 1000  # each takes as long as a hundred values within it


class Member(NamedTuple):
    """`value`: every number in it is a float."""

    value: Any
    text: str


def read(raw: bytes) -> dict[str, Member] | None:
    """Read the members of the object at the top of a JSON text. None: it is something else.

    Raises NotJson, also for a key that is named twice there, or where there are more than MOST_MEMBERS. How deep a
    value may be nested its caller bounds (see structure.py): Python's own bound is another in each version.
    """
    try:
        return _read(raw.decode())
    except RecursionError as error:
        raise NotJson("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise NotJson(f"it is not valid UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotJson(str(error)) from error


def write(members: Mapping[str, Member]) -> bytes:
    """Write the members as a JSON object. Raises LoneSurrogate for a key that holds half of a pair."""
    said = [b"%b:%b" % (exact_json.dumps(name), member.text.encode()) for name, member in members.items()]
    return b"{" + b",".join(said) + b"}"


def _read(text: str) -> dict[str, Member] | None:
    at = _after_blanks(text, 0)
    if text[at : at + 1] != "{":
        _DECODER.decode(text)
        return None
    found: dict[str, Member] = {}
    at = _after_blanks(text, at + 1)
    empty = text[at : at + 1] == "}"
    while not empty:
        name, at = _name(text, at)
        if name in found:
            raise NotJson(f"{name[:80]!r} is named twice in one object")
        if len(found) == MOST_MEMBERS:
            raise NotJson(f"it has more than {MOST_MEMBERS} members")
        value, end = _DECODER.raw_decode(text, at)
        found[name] = Member(value, text[at:end])
        at = _after_blanks(text, end)
        if text[at : at + 1] == "}":
            break
        at = _after_blanks(text, _past(text, at, ","))
    if _after_blanks(text, at + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)
    return found


def _name(text: str, at: int) -> tuple[str, int]:
    """Find a key, and where its value begins."""
    if text[at : at + 1] != '"':
        raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
    name, at = _DECODER.raw_decode(text, at)
    return name, _after_blanks(text, _past(text, _after_blanks(text, at), ":"))


def _past(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise json.JSONDecodeError(f"Expecting {mark!r} delimiter", text, at)
    return at + 1


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return at if match is None else match.end()


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")


_BLANKS: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder(parse_int=float, parse_constant=_constant)  # whose numbers cost least
