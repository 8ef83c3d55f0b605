"""JSON of other people, read and written so that every number keeps its digits. Pure.

orjson reads numbers as doubles and 64-bit integers, which changes `123456789012345678901234567890`, `-0`, `1.10` and
`1e400`, takes the last of doubled keys, and refuses halves of surrogate pairs. Where it would change nothing, which is
seen by writing again what it read, it is used; all else goes through the standard library, at some times the cost.
"""

from __future__ import annotations

import json
import json.encoder
import re
from typing import Any, Final, NoReturn, Self

import orjson

_LONE: Final = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_MOST_PLAIN_DIGITS: Final = 18  # of an integer that every reader takes for one
_DEEP: Final = "it is nested too deeply"


class NotJson(ValueError):
    """Text that is no JSON, or names a key twice. Says where, or which."""


class LoneSurrogate(ValueError):
    """Half of a surrogate pair, which is no character and cannot be written in UTF-8."""


class Number(float):
    """A number that is written as it was read: `text`."""

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number


def loads(raw: bytes, *, unique: bool = False) -> Any:
    """The value of a JSON text. Of doubled keys the last counts, or with `unique` they are refused.

    Strings may hold lone surrogates. Raises NotJson.
    """
    try:
        value = orjson.loads(raw)
        if orjson.dumps(value) == raw:
            return value
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        pass
    try:
        return (_UNIQUE if unique else _EXACT).decode(raw.decode())
    except RecursionError as error:
        raise NotJson(_DEEP) from error
    except UnicodeDecodeError as error:
        raise NotJson(f"it is not valid UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotJson(str(error)) from error


def dumps(value: Any, *, lone: bool = False) -> bytes:
    """Compact JSON. `lone`: halves of surrogate pairs are written as escapes, as in `"\\ud83d"`.

    Raises LoneSurrogate, or ValueError where it is nested too deeply.
    """
    try:
        return orjson.dumps(value, default=_literal)
    except orjson.JSONEncodeError as error:
        if "surrogates" not in str(error):
            raise ValueError(_DEEP) from error
        if not lone:
            raise LoneSurrogate("half of a surrogate pair is no character") from error
    try:
        return _written(value).encode("utf-8", "backslashreplace")  # which writes halves as JSON does
    except RecursionError as error:
        raise ValueError(_DEEP) from error


def has_lone_surrogate(raw: bytes) -> bool:
    """Whether a string in this JSON text holds half of a surrogate pair. Raises NotJson."""
    if _ESCAPED_SURROGATE.search(raw) is None:
        return False
    try:
        dumps(loads(raw))
    except LoneSurrogate:
        return True
    return False


def paired(text: str) -> str:
    """With halves of surrogate pairs that follow each other put together."""
    if text.isascii() or _LONE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _literal(value: Any) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} is not of JSON")


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join([f"{_quoted(key)}:{_written(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, str):
        return _quoted(value)
    return dumps(value).decode()


_quoted: Final = json.encoder.encode_basestring  # in C where the platform has that


def _integer(text: str) -> Any:
    if len(text) > _MOST_PLAIN_DIGITS or text == "-0":
        return Number(text)
    return int(text)


def _real(text: str) -> Any:
    number = float(text)
    try:
        plain = orjson.dumps(number) == text.encode()
    except ValueError:
        plain = False
    return number if plain else Number(text)


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen = set[str]()
    for key, _ in pairs:
        if key in seen:
            raise NotJson(f"{key[:80]!r} is named twice in one object")
        seen.add(key)
    return found


_EXACT: Final = json.JSONDecoder(parse_float=_real, parse_int=_integer, parse_constant=_constant)
_UNIQUE: Final = json.JSONDecoder(
    parse_float=_real, parse_int=_integer, parse_constant=_constant, object_pairs_hook=_each_once
)
