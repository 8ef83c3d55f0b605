"""The calls, one by one: parameters, bodies, answers. What a call means is said by its view's own docstring."""

from __future__ import annotations

from typing import Any, Final

from pushsvc.attendance.roll_call import MOST_USERS
from pushsvc.delivery.reading import history
from pushsvc.web.answers import generations
from pushsvc.web.openapi.schemas import CHANNEL, EVENT_ID, NAME, Schema, listed, ref
from pushsvc.web.operating import presence

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


_TEXT: Final[Schema] = {"type": "string"}
_STREAM_PARAMETERS: Final = (
    query("topics", _TEXT, description="Topics with commas between."),
    query("since", {"enum": ["unread", "now", "earliest"], "default": "unread"}),
    query("last_event_id", EVENT_ID, description="Also the header Last-Event-ID, which stands over it."),
    query("ack", {"enum": ["auto", "manual"], "default": "auto"}),
    query("heartbeat", {"enum": ["comment", "event"], "default": "comment"}),
    query("ticket", _TEXT),
    query("resume", {"enum": ["", "id"]}),
)
_EVENT: Final = {"user": "alice", "event": "order.paid", "data": {"id": 7}, "key": "order-7", "ttl": 3600}
_QUESTION: Final = {"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}
_ASKED: Final = (400, 401, 403, 413, 415, 429, 503)
_INCLUDE: Final = query("include", {"enum": ["messages"]})


def _limit(default: int, most: int) -> Schema:
    return query("limit", {"type": "integer", "minimum": 1, "maximum": most, "default": default})


OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("/publish", "post"): operation(
        [
            answer(200, {JSON: {"anyOf": [ref("Receipt"), ref("Receipts")]}, NDJSON: _TEXT}),
            *refusals(400, 401, 403, 413, 415, 429, 503, 507),
        ],
        {"name": "Idempotency-Key", "in": "header", "schema": _TEXT},
        requestBody=body({JSON: {"anyOf": [ref("Event"), listed(ref("Event"))]}, NDJSON: _TEXT}, {JSON: _EVENT}),
    ),
    ("/events", "get"): operation(
        [answer(200, {SSE: _TEXT}), *refusals(400, 401, 403, 413, 429, 503)], *_STREAM_PARAMETERS
    ),
    ("/ws", "get"): operation([answer(101), *refusals(400, 401, 403, 426, 429, 503)], *_STREAM_PARAMETERS[:6]),
    ("/tickets", "post"): operation(
        [answer(200, {JSON: ref("Ticket")}), *refusals(400, 401, 403, 413, 415, 429, 503)],
        requestBody=body({JSON: ref("TicketWish")}, {JSON: {"user": "alice", "topics": ["news"], "ttl": 60}}),
    ),
    ("/history", "get"): operation(
        [answer(200, {JSON: ref("Page")}), *refusals(400, 401, 403, 429, 503)],
        query("channel", CHANNEL, required=True),
        query("after", EVENT_ID),
        query("before", EVENT_ID),
        _limit(history.DEFAULT_LIMIT, history.MAX_LIMIT),
        query("wait", {"type": "integer", "minimum": 0, "maximum": history.MAX_WAIT, "default": 0}),
    ),
    ("/ack", "post"): operation(
        [answer(200, {JSON: ref("Unread")}), *refusals(400, 401, 403, 413, 415, 503)],
        requestBody=body({JSON: ref("Ack")}, {JSON: {"id": "0-0"}}),
    ),
    ("/unread", "get"): operation([answer(200, {JSON: ref("Unread")}), *refusals(401, 403, 503)]),
    ("/presence", "get"): operation(
        [answer(200, {JSON: ref("Presence")}), *refusals(400, 401, 403, 503)],
        query("user", NAME),
        query("topic", NAME),
        query("after", _TEXT),
        _limit(presence.USERS, MOST_USERS),
    ),
    ("/connections", "delete"): operation(
        [answer(200, {JSON: ref("Cut")}), *refusals(400, 401, 403, 503)],
        query("user", NAME),
        query("tokens", {"enum": ["keep", "void"], "default": "keep"}),
        query("jti", {"type": "string", "minLength": 1, "maxLength": 255}),
    ),
    ("/metrics", "get"): operation([answer(200, {"text/plain": _TEXT}), *refusals(401, 403)]),
    ("/healthz", "get"): operation([answer(200, {JSON: ref("Alive")})], security=[]),
    ("/readyz", "get"): operation([answer(200, {JSON: ref("Ready")}), *refusals(503)], security=[]),
    ("/v1/chat/completions", "post"): operation(
        [answer(200, {JSON: ref("Completion"), SSE: _TEXT}), *refusals(*_ASKED, openai=True)],
        requestBody=body({JSON: ref("Question")}, {JSON: _QUESTION}),
    ),
    ("/v1/generations", "post"): operation(
        [answer(202, {JSON: ref("Begun")}), *refusals(*_ASKED, openai=True)],
        requestBody=body({JSON: ref("Question")}, {JSON: _QUESTION}),
    ),
    ("/v1/generations", "get"): operation(
        [answer(200, {JSON: ref("Generations")}), *refusals(400, 401, 403, 503, openai=True)],
        _limit(generations.DEFAULT_LIMIT, generations.MOST_LIMIT),
        query("after", _TEXT),
        _INCLUDE,
    ),
    ("/v1/generations/{generation_id}", "get"): operation(
        [answer(200, {JSON: ref("Generation")}), *refusals(400, 401, 403, 404, 503, openai=True)], _INCLUDE
    ),
    ("/v1/generations/{generation_id}", "delete"): operation(
        [answer(200, {JSON: ref("Generation")}), *refusals(400, 401, 403, 404, 503, openai=True)], _INCLUDE
    ),
    ("/v1/generations/{generation_id}/events", "get"): operation(
        [answer(200, {SSE: _TEXT}), answer(204), *refusals(400, 401, 403, 404, 429, 503, openai=True)],
        *_STREAM_PARAMETERS[2:],
    ),
    ("/v1/generations/events", "get"): operation(
        [answer(200, {SSE: _TEXT}), *refusals(400, 401, 403, 429, 503, openai=True)], *_STREAM_PARAMETERS[2:5]
    ),
    ("/v1/models", "get"): operation([answer(200, {JSON: ref("Models")}), *refusals(401, 403, 503, openai=True)]),
    ("/v1/models/{name}", "get"): operation(
        [answer(200, {JSON: ref("Model")}), *refusals(401, 403, 404, 503, openai=True)]
    ),
}
