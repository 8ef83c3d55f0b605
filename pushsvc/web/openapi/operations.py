"""The calls, one by one: parameters, bodies, answers. What a call means is said by its view's own docstring."""

from __future__ import annotations

from typing import Final

from pushsvc.attendance.roll_call import MOST_USERS
from pushsvc.calls.events import MOST_SECONDS
from pushsvc.delivery.reading import history
from pushsvc.web.answers import generations
from pushsvc.web.openapi.models import MODELS
from pushsvc.web.openapi.parts import JSON, NDJSON, SSE, TEXT, Operation, answer, body, operation, query, refusals
from pushsvc.web.openapi.schemas import CHANNEL, EVENT_ID, NAME, Schema, listed, ref
from pushsvc.web.operating import presence

_STREAM_PARAMETERS: Final = (
    query("topics", TEXT, description="Topics with commas between."),
    query("since", {"enum": ["unread", "now", "earliest"], "default": "unread"}),
    query("last_event_id", EVENT_ID, description="Also the header Last-Event-ID, which stands over it."),
    query("ack", {"enum": ["auto", "manual"], "default": "auto"}),
    query("heartbeat", {"enum": ["comment", "event"], "default": "comment"}),
    query("ticket", TEXT),
    query("resume", {"enum": ["", "id"]}),
    query("wait", {"type": "integer", "minimum": 1, "maximum": MOST_SECONDS}, description="Seconds it lasts."),
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
            answer(200, {JSON: {"anyOf": [ref("Receipt"), ref("Receipts")]}, NDJSON: TEXT}),
            *refusals(400, 401, 403, 413, 415, 429, 503, 507),
        ],
        {"name": "Idempotency-Key", "in": "header", "schema": TEXT},
        requestBody=body({JSON: {"anyOf": [ref("Event"), listed(ref("Event"))]}, NDJSON: TEXT}, {JSON: _EVENT}),
    ),
    ("/events", "get"): operation(
        [answer(200, {SSE: TEXT}), *refusals(400, 401, 403, 413, 429, 503)], *_STREAM_PARAMETERS
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
        query("after", TEXT),
        _limit(presence.USERS, MOST_USERS),
    ),
    ("/connections", "delete"): operation(
        [answer(200, {JSON: ref("Cut")}), *refusals(400, 401, 403, 503)],
        query("user", NAME),
        query("tokens", {"enum": ["keep", "void"], "default": "keep"}),
        query("jti", {"type": "string", "minLength": 1, "maxLength": 255}),
    ),
    ("/metrics", "get"): operation([answer(200, {"text/plain": TEXT}), *refusals(401, 403)]),
    ("/healthz", "get"): operation([answer(200, {JSON: ref("Alive")})], security=[]),
    ("/readyz", "get"): operation([answer(200, {JSON: ref("Ready")}), *refusals(503)], security=[]),
    ("/v1/chat/completions", "post"): operation(
        [answer(200, {JSON: ref("Completion"), SSE: TEXT}), *refusals(*_ASKED, openai=True)],
        requestBody=body({JSON: ref("Question")}, {JSON: _QUESTION}),
    ),
    ("/v1/generations", "post"): operation(
        [answer(202, {JSON: ref("Begun")}), *refusals(*_ASKED, openai=True)],
        requestBody=body({JSON: ref("Question")}, {JSON: _QUESTION}),
    ),
    ("/v1/generations", "get"): operation(
        [answer(200, {JSON: ref("Generations")}), *refusals(400, 401, 403, 503, openai=True)],
        _limit(generations.DEFAULT_LIMIT, generations.MOST_LIMIT),
        query("after", TEXT),
        _INCLUDE,
    ),
    ("/v1/generations/{generation_id}", "get"): operation(
        [answer(200, {JSON: ref("Generation")}), *refusals(400, 401, 403, 404, 503, openai=True)], _INCLUDE
    ),
    ("/v1/generations/{generation_id}", "delete"): operation(
        [answer(200, {JSON: ref("Generation")}), *refusals(400, 401, 403, 404, 503, openai=True)], _INCLUDE
    ),
    ("/v1/generations/{generation_id}/events", "get"): operation(
        [answer(200, {SSE: TEXT}), answer(204), *refusals(400, 401, 403, 404, 429, 503, openai=True)],
        *_STREAM_PARAMETERS[2:7],
    ),
    ("/v1/generations/events", "get"): operation(
        [answer(200, {SSE: TEXT}), *refusals(400, 401, 403, 429, 503, openai=True)], *_STREAM_PARAMETERS[2:5]
    ),
    ("/v1/models", "get"): operation([answer(200, {JSON: ref("Models")}), *refusals(401, 403, 503, openai=True)]),
    ("/v1/models/{name}", "get"): operation(
        [answer(200, {JSON: ref("Model")}), *refusals(401, 403, 404, 503, openai=True)]
    ),
} | MODELS
