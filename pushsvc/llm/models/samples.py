"""Makes a value that fits a JSON Schema, for the mock's tool calls and JSON answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Json = dict[str, Any]

_MOST_VALUES: Final = 500  # a small schema can require a great many values
_MOST_DEPTH: Final = 30
_FORMATS: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "somebody@example.com",
    "uri": "https://example.com/",
    "uuid": "123e4567-e89b-42d3-a456-426614174000",
}


def sample(schema: Any, text: str) -> Any:
    """Make a value that fits the schema. `text`: the value of strings about which the schema says nothing else."""
    return _Sampler(schema, text).value(schema, 0)


class _Sampler:
    def __init__(self, root: Any, text: str) -> None:
        self._root = root
        self._text = text
        self._left = _MOST_VALUES

    def value(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _MOST_DEPTH or self._left < 0:
            return None
        if isinstance(schema.get("$ref"), str):
            return self.value(self._referred(schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][0]
        for name in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(name), list) and schema[name]:
                return self.value(schema[name][0], depth + 1)
        return self._of_type(_type(schema), schema, depth)

    def _of_type(self, kind: object, schema: Json, depth: int) -> Any:
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return [self.value(schema.get("items", {}), depth + 1) for _ in range(_whole(schema, "minItems", 1, 10))]
        if kind in ("integer", "number"):
            return _whole(schema, "minimum", 1, 10**9)
        return {"boolean": True, "null": None}.get(str(kind), self._string(schema))

    def _object(self, schema: Json, depth: int) -> Json:
        known = schema.get("properties")
        properties: Json = known if isinstance(known, dict) else {}
        required = schema.get("required")
        names = [each for each in required if isinstance(each, str)] if isinstance(required, list) else [*properties]
        return {name: self.value(properties.get(name, {}), depth + 1) for name in names[:_MOST_VALUES]}

    def _string(self, schema: Json) -> str:
        text = _FORMATS.get(str(schema.get("format")), self._text)
        return text.ljust(_whole(schema, "minLength", 0, 10_000), ".")[: _whole(schema, "maxLength", 10_000, 10_000)]

    def _referred(self, reference: str) -> Any:
        found = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def _type(schema: Mapping[str, Any]) -> object:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    return kind or ("object" if "properties" in schema else "string")


def _whole(schema: Mapping[str, Any], name: str, usual: int, most: int) -> int:
    given = schema.get(name)
    return max(0, min(given, most)) if isinstance(given, int) else usual
