"""The parts of which the operations are made: parameters, bodies, answers."""

from __future__ import annotations

from typing import Any, Final

from pushsvc.web.openapi.schemas import Schema, ref

Operation = dict[str, Any]

JSON: Final = "application/json"
SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
_WORDS: Final = {
    101: "The WebSocket is open.",
    200: "Done.",
    202: "Begun.",
    204: "There is nothing more.",
    400: "Something is wrong with the request.",
    401: "There is no good credential.",
    403: "The credential does not allow it.",
    404: "There is no such thing.",
    409: "It does not fit what is there.",
    413: "It is too large.",
    415: "The body is not of this type.",
    426: "It is no WebSocket's request.",
    429: "It is too much; see Retry-After.",
    503: "Not now; see Retry-After.",
    507: "Redis is full.",
}


def query(name: str, schema: Schema, *, required: bool = False, description: str = "") -> Schema:
    """A parameter of the URL's query."""
    found: Schema = {"name": name, "in": "query", "schema": schema} | ({"required": True} if required else {})
    return found | ({"description": description} if description else {})


def answer(status: int, content: dict[str, Schema] | None = None) -> tuple[str, Schema]:
    """A response. `content`: schemas by media type."""
    found: Schema = {"description": _WORDS[status]}
    if content:
        found["content"] = {media: {"schema": schema} for media, schema in content.items()}
    return str(status), found


def refusals(*statuses: int, openai: bool = False) -> list[tuple[str, Schema]]:
    """Refusals, as problem documents or in OpenAI's shape."""
    media, schema = (JSON, "OpenAIError") if openai else ("application/problem+json", "Problem")
    return [answer(status, {media: ref(schema)}) for status in statuses]


def body(content: dict[str, Schema], examples: dict[str, Any] | None = None) -> Schema:
    """A request's body. `examples`: by media type."""
    return {
        "required": True,
        "content": {
            media: {"schema": schema} | ({"example": examples[media]} if examples and media in examples else {})
            for media, schema in content.items()
        },
    }


def operation(answers: list[tuple[str, Schema]], *parameters: Schema, **more: Any) -> Operation:
    """An operation, without its words."""
    found: Operation = {"parameters": list(parameters)} if parameters else {}
    return found | more | {"responses": dict(answers)}


TEXT: Final[Schema] = {"type": "string"}
