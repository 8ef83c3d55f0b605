"""Reads and writes the JSON of clients and models so that every number keeps its digits. Pure.

orjson reads numbers as doubles and 64-bit integers, which changes `123456789012345678901234567890`, `-0`, `1.10` and
`1e400`, takes the last of doubled keys, and refuses halves of surrogate pairs. Its result is used where
writing that again gives the same text; all else goes through the standard library, at several times the cost.
"""

from __future__ import annotations

import json
import json.encoder
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, Self

import orjson

_LONE: Final = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_MOST_PLAIN_DIGITS: Final = 18  # digits of an integer that every parser reads as an integer
_BLANKS: Final = b" \t\r\n"  # white space between JSON tokens
_DEEP: Final = "it is nested too deeply"


class NotJson(ValueError):
    """A text is not JSON, or an object has a key twice. The message names the place or the key."""


class LoneSurrogate(ValueError):
    """A string holds half of a surrogate pair, which UTF-8 cannot encode."""


class Number(float):
    """A number that is written with the same digits as it was read, in `text`."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        """`text`: the number as it was read."""
        number = super().__new__(cls, text)
        number.text = text
        return number


class Doubled:
    """The value that `loads_items` returns in place of an object that has `key` twice."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key

    def __str__(self) -> str:
        return f"{self.key[:80]!r} is named twice in one object"


def loads(raw: bytes, *, unique: bool = False) -> Any:
    """Parse a JSON text. Of doubled keys the last one wins; `unique` refuses them.

    Strings may hold lone surrogates. Raises NotJson.
    """
    return _loads(raw, _UNIQUE if unique else _EXACT)


def loads_items(raw: bytes) -> Any:
    """Parse like `loads`, for lists of independent items: an object that has a key twice becomes Doubled, and the other
    items are parsed. Raises NotJson."""
    return _loads(raw, _ITEMS)


def read_item(text: str) -> tuple[Any, int]:
    """Read the value with which a text begins, as `loads_items` does, and give its length. Raises NotJson for what is
    nested too deeply, or json.JSONDecodeError."""
    try:
        return _ITEMS.raw_decode(text)
    except RecursionError as error:
        raise NotJson(_DEEP) from error


def loads_leniently(raw: bytes) -> Any:
    """Parse like `loads`, and read NaN and the infinities, which Python writes though JSON has none, as null.
    Raises NotJson."""
    return _loads(raw, _LENIENT)


def _loads(raw: bytes, decoder: json.JSONDecoder) -> Any:
    try:
        value = orjson.loads(raw)
        written = orjson.dumps(value)
        # White space may be ignored, also in strings: JSON tokens can be told apart without it.
        if written == raw or written.translate(None, _BLANKS) == raw.translate(None, _BLANKS):
            return value
    except orjson.JSONDecodeError as error:
        if str(error).startswith("depth limit exceeded"):  # the standard library's limit varies by Python version
            raise NotJson(_DEEP) from error
    except orjson.JSONEncodeError:
        pass
    try:
        return decoder.decode(raw.decode())
    except RecursionError as error:
        raise NotJson(_DEEP) from error
    except UnicodeDecodeError as error:
        raise NotJson(f"it is not valid UTF-8: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise NotJson(str(error)) from error


def dumps(value: Any, *, lone: bool = False) -> bytes:
    r"""Write compact JSON. `lone`: halves of surrogate pairs are written as escapes, as in `"\ud83d"`.

    Raises LoneSurrogate, NotJson where something is Doubled, or ValueError where it is nested too deeply.
    """
    try:
        return orjson.dumps(value, default=_literal)
    except orjson.JSONEncodeError as error:
        if isinstance(error.__cause__, NotJson):
            raise error.__cause__ from None
        if "surrogates" not in str(error):
            raise ValueError(_DEEP) from error
        if not lone:
            raise LoneSurrogate("half of a surrogate pair is no character") from error
    try:
        return _written(value).encode("utf-8", "backslashreplace")  # writes halves as JSON escapes
    except RecursionError as error:
        raise ValueError(_DEEP) from error


def has_lone_surrogate(raw: bytes, value: Any) -> bool:
    """Whether a string of `value` holds half of a surrogate pair. `raw`: the text that it was read from."""
    if _ESCAPED_SURROGATE.search(raw) is None:
        return False
    try:
        dumps(value)
    except LoneSurrogate:
        return True
    return False


def paired(text: str) -> str:
    """The text with halves of surrogate pairs that follow each other put together."""
    if text.isascii() or _LONE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _literal(value: Any) -> orjson.Fragment:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    if isinstance(value, Doubled):
        raise NotJson(str(value))
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


def _is_plain(integer: str) -> bool:
    return len(integer) <= _MOST_PLAIN_DIGITS and integer != "-0"


def _integer(text: str) -> Any:
    return int(text) if _is_plain(text) else Number(text)


def _real(text: str) -> Any:
    number = float(text)
    try:
        plain = orjson.dumps(number) == text.encode()
    except ValueError:
        plain = False
    return number if plain else Number(text)


def _constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON")


def _item(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Doubled:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen = set[str]()
    return Doubled(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = _item(pairs)
    if isinstance(found, Doubled):
        raise NotJson(str(found))
    return found


def _item_integer(text: str) -> Any:
    return int(text) if _is_plain(text) else orjson.Fragment(text)


def _decoder(
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
    integer: Callable[[str], Any] = _integer,
    real: Callable[[str], Any] = _real,
    constant: Callable[[str], Any] = _constant,
) -> json.JSONDecoder:
    return json.JSONDecoder(parse_float=real, parse_int=integer, parse_constant=constant, object_pairs_hook=pairs)


def _null(_name: str) -> None:
    return None


_EXACT: Final = _decoder()
_UNIQUE: Final = _decoder(_each_once)
_LENIENT: Final = _decoder(constant=_null)
_ITEMS: Final = _decoder(_item, _item_integer, orjson.Fragment)  # for numbers that are only copied; faster
