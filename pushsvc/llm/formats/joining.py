"""Joins the chunks of an answer into one chunk with the same content. Members that come in pieces, such as text, are
concatenated. Of members that name something (`id`, `model`, `type`), the first value that is not empty counts; of all
other members, also unknown ones, the last value. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pushsvc.events import exact_json

Json = dict[str, Any]

# Members whose text comes in pieces, in a delta and in the objects in it.
GROWING: Final = frozenset(
    {
        "content", "refusal", "arguments", "input", "text", "transcript", "partial_json", "summary", "reasoning",
        "reasoning_content", "reasoning_text", "reasoning_summary", "thinking", "thinking_content", "thought",
        "thoughts",
    }
)  # fmt: skip
_PIECES: Final = frozenset({"tool_calls", "reasoning_details", "thinking_blocks"})  # lists whose items come in pieces
_FOLLOWING: Final = frozenset({"logprobs", "token_ids"})  # members of a choice: lists with one item for each token
_NAMES: Final = frozenset({"id", "model", "created", "object", "role", "type", "name", "index"})
_TEXT_PARTS: Final = frozenset({"text", "thinking", "reasoning"})  # types of parts that the next chunk may continue
SAYING: Final = GROWING | _PIECES | {"function_call", "audio", "images"}  # members of a delta that carry tokens


def index_of(choice: Mapping[str, Any]) -> int:
    """The index of a choice; 0 if there is none, because some servers leave it out, or send null."""
    index = choice.get("index")
    if isinstance(index, int):
        return index
    if isinstance(index, float) and index.is_integer():
        return int(index)
    return int(index) if isinstance(index, str) and index.isdecimal() and len(index) < 10 else 0


def joined(values: Iterable[Json]) -> Json:
    """Join chunks into one; {} if there are none."""
    whole: Json = {}
    choices: dict[int, Json] = {}
    for value in values:
        for key, item in value.items():
            if key == "choices":
                for choice in item or ():
                    _join_choice(choices.setdefault(index_of(choice), {}), choice)
            elif item is not None and key != "obfuscation":
                _say_once(whole, key, item)
    if whole or choices:
        whole["choices"] = [_finished(choices[index]) for index in sorted(choices)]
    return whole


def _say_once(whole: Json, key: str, item: Any) -> None:
    held = whole.get(key)
    if not held or (key not in _NAMES and item != ""):
        whole[key] = item


class _Text(list[str]):
    """A string that grows, as a list of pieces: adding to a str would copy all of it each time."""


class _Items(list[Any]):
    """A list that grows. It knows its newest item of each index, and which complete items it has."""

    def __init__(self) -> None:
        super().__init__()
        self._newest: dict[int, Json] = {}
        self._had: set[bytes] = set()

    def at(self, index: int, piece: Json) -> Json:
        """Find the item that `piece` continues, or begin a new one. A piece with another id or type than the item at
        its index begins a new item."""
        held = self._newest.get(index)
        if held is None or _differ(held, piece):
            held = self._newest[index] = {}
            self.append(held)
        return held

    def last(self, piece: Json) -> Json:
        """Do as `at` does, for a piece that has no index: it may continue the last item."""
        held = self[-1] if self else None
        if not isinstance(held, dict) or _differ(held, piece) or _begins(held, piece):
            held = {}
            self.append(held)
        return held

    def add_once(self, item: Any) -> None:
        known = exact_json.dumps(item, lone=True)
        if known not in self._had:
            self._had.add(known)
            self.append(item)


def _differ(held: Json, piece: Json) -> bool:
    return any(held.get(key) and piece.get(key) and held[key] != piece[key] for key in ("id", "type"))


def _begins(held: Json, piece: Json) -> bool:
    """Whether a piece without an index begins a new item: both have a name, or the held one is complete (signed)."""
    if held.get("id") and held["id"] == piece.get("id"):
        return False
    names = [each["function"].get("name") for each in (held, piece) if isinstance(each.get("function"), dict)]
    return (len(names) == 2 and all(names)) or bool(held.get("signature") and not piece.get("signature"))


def _items(whole: Json, key: str) -> _Items:
    held = whole.get(key)
    if isinstance(held, _Items):
        return held
    items = whole[key] = _Items()
    if isinstance(held, _Text) and any(held):  # text that is followed by parts
        items.append({"type": "text", "text": held})
    return items


def _join_choice(whole: Json, piece: Json) -> None:
    for key, item in piece.items():
        if item is None:
            whole.setdefault(key, None)
        elif key == "delta" and isinstance(item, dict):
            _join_delta(_object(whole, key), item)
        elif key == "text" and isinstance(item, str):
            _grow(whole, key, item)
        elif key in _FOLLOWING:
            _follow(whole, key, item)
        elif isinstance(item, dict):
            _merge(_object(whole, key), item)
        else:
            _say_once(whole, key, index_of(piece) if key == "index" else item)


def _object(whole: Json, key: str) -> Json:
    held = whole.get(key)
    if not isinstance(held, dict):
        held = whole[key] = {}
    return held


def _follow(whole: Json, key: str, item: Any) -> None:
    """Extend a list that has one item for each token, or the lists in an object of such lists."""
    if isinstance(item, list):
        _items(whole, key).extend(item)
    elif isinstance(item, dict):
        held = _object(whole, key)
        for name, each in item.items():
            _follow(held, name, each)
    elif item is not None or key not in whole:
        whole[key] = item


def _merge(whole: Json, piece: Json) -> None:
    """Merge objects member by member; the last value counts."""
    for key, item in piece.items():
        if isinstance(item, dict):
            _merge(_object(whole, key), item)
        elif item is not None or key not in whole:
            whole[key] = item


def _join_delta(whole: Json, piece: Json, growing: frozenset[str] = GROWING) -> None:
    for key, item in piece.items():
        if item is None:
            whole.setdefault(key, None)
        elif isinstance(item, str) and key in growing:
            _grow(whole, key, item)
        elif isinstance(item, dict):
            _join_delta(_object(whole, key), item, growing | {"data"} if key == "audio" else growing)
        elif isinstance(item, list):
            _join_list(_items(whole, key), key, item)
        else:
            _say_once(whole, key, item)


def _grow(whole: Json, key: str, text: str) -> None:
    held = whole.get(key)
    if isinstance(held, _Text):
        held.append(text)
    elif isinstance(held, _Items):
        if text:
            _join_list(held, key, [{"type": "text", "text": text}])
    else:
        whole[key] = _Text([text])


def _join_list(whole: _Items, key: str, pieces: list[Any]) -> None:
    for piece in pieces:
        if not isinstance(piece, dict):
            whole.add_once(piece)
        elif isinstance(piece.get("index"), int):
            _join_delta(whole.at(piece["index"], piece), piece)
        elif key in _PIECES or (key in GROWING and piece.get("type") in _TEXT_PARTS):
            _join_delta(whole.last(piece), piece)
        else:
            whole.add_once(piece)


def _finished(value: Any) -> Any:
    if isinstance(value, _Text):
        return exact_json.paired("".join(value))
    if isinstance(value, dict):
        return {key: _finished(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finished(item) for item in value]
    return value
