"""Reads the members of a JSON object, each with its text, so that some can be changed while the text of the others
stays the same. That keeps the digits of numbers and repeated keys in nested objects, and saves the time to write the
values anew. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, NoReturn

from pushsvc.events import exact_json
from pushsvc.events.exact_json import NotJson

MOST_MEMBERS: Final = 1000  # reading a member takes as long as reading a hundred values in it


class Member(NamedTuple):
    """A member of an object. `value`: as parsed, with every number as a float; `text`: as written."""

    value: Any
    text: str


def read(raw: bytes) -> dict[str, Member] | None:
    """Read the members of the object at the top of a JSON text. None: the text is another value than an object.

    Raises NotJson, also for a key that occurs twice at the top, or for more than MOST_MEMBERS members. The caller must
    bound the nesting (see structure.py), because Python's own bound differs between versions.
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
    """Write the members as a JSON object. Raises LoneSurrogate for a key with half of a surrogate pair."""
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
    """Read a key, and give the place where its value begins."""
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
_DECODER: Final = json.JSONDecoder(parse_int=float, parse_constant=_constant)  # floats are the fastest to parse
