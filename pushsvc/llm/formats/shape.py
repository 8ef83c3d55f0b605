"""The shape of an engine's whole answers: which members they have even where these say nothing. The chunks of a stream
do not tell that, so a completion that is made of chunks is given the shape of one that the engine made itself. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

from pushsvc.events import exact_json
from pushsvc.llm.formats.joining import Json

_SAID: Final = True  # stands for a value that says something
_PLAIN: Final = frozenset(
    {"id", "object", "created", "model", "choices", "system_fingerprint", "usage", "timings", "prompt_progress"}
)


def is_other(chunk: Json) -> bool:
    """Whether an engine with such a first chunk says something else in whole answers: `transformers serve` streams no
    half of a character at the end. It is known by its empty fingerprint."""
    return chunk.get("system_fingerprint") == ""


def is_plain(chunk: Json) -> bool:
    """Whether an engine with such a first chunk makes whole answers that have nothing more than its chunks: neither
    has members without a value, apart from the text."""
    if not chunk.keys() <= _PLAIN:
        return False
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        others = [item for key, item in delta.items() if key not in ("role", "content")]
        if choice.get("logprobs", _SAID) is None or any(item in (None, "", [], {}) for item in others):
            return False
    return True


class Shape(NamedTuple):
    """The members of a whole answer, of its first choice, and of the message in that: each with its value if that is
    empty. `usage`: the members of the count, and of the objects in it."""

    top: Json
    choice: Json
    message: Json
    usage: Json

    @classmethod
    def of(cls, whole: Json) -> Self | None:
        """Read the shape of a whole answer. None: it has not one choice."""
        choices = whole.get("choices") or []
        if len(choices) != 1 or not isinstance(choices[0].get("message"), dict):
            return None
        usage = whole.get("usage")
        return cls(
            _empties(whole), _empties(choices[0]), _empties(choices[0]["message"]),
            _names(usage) if isinstance(usage, dict) else {},
        )  # fmt: skip

    @classmethod
    def read(cls, raw: bytes) -> Self:
        """Read what `write` wrote."""
        return cls(*exact_json.loads(raw))

    def write(self) -> bytes:
        """Write it as JSON."""
        return exact_json.dumps([*self], lone=True)

    def given(self, whole: Json) -> Json:
        """The completion in this shape."""
        found = {key: item for key, item in whole.items() if key in self.top} | _missing(whole, self.top)
        if isinstance(whole.get("usage"), dict) and self.usage:
            found["usage"] = _only(whole["usage"], self.usage)
        found["choices"] = [
            _like(choice, self.choice) | {"message": _like(choice["message"], self.message)}
            for choice in whole.get("choices") or ()
        ]
        return found


def shaped(whole: Json, raw: bytes | None) -> Json:
    """The completion in a shape that was written. None: its own."""
    return whole if raw is None else Shape.read(raw).given(whole)


def _is_empty(item: Any) -> bool:
    return item is None or item == [] or item == {}


def _empties(whole: Json) -> Json:
    return {key: item if _is_empty(item) else _SAID for key, item in whole.items()}


def _names(usage: Json) -> Json:
    return {key: _names(item) if isinstance(item, dict) else _SAID for key, item in usage.items()}


def _missing(whole: Json, shape: Mapping[str, Any]) -> Json:
    return {key: item for key, item in shape.items() if item is not _SAID and _is_empty(whole.get(key))}


def _like(whole: Json, shape: Mapping[str, Any]) -> Json:
    """The object with the empty members of the shape, and no others that are empty."""
    said = {key: item for key, item in whole.items() if not _is_empty(item) or key in shape}
    return said | _missing(whole, shape)


def _only(usage: Json, names: Mapping[str, Any]) -> Json:
    return {
        key: _only(item, names[key]) if isinstance(item, dict) and isinstance(names[key], dict) else item
        for key, item in usage.items()
        if key in names
    }
