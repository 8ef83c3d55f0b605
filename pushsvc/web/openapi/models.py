"""The calls of other APIs of models. Their schemas are those APIs' own; see docs/models.md."""

from __future__ import annotations

from typing import Final

from pushsvc.web.openapi.parts import JSON, SSE, TEXT, Operation, answer, body, operation, query, refusals
from pushsvc.web.openapi.schemas import Schema

_ANY: Final[Schema] = {"type": "object"}
_ASKED: Final = (400, 401, 403, 409, 413, 415, 429, 503)
_FOUND: Final = (400, 401, 403, 404, 503)
_PAGE: Final = (
    query("limit", {"type": "integer", "minimum": 0, "maximum": 100, "default": 20}),
    query("after", TEXT),
    query("order", {"enum": ["asc", "desc"]}),
)
_RESPONSE: Final = {"model": "mock", "input": "Hello"}
_CHAT: Final = {"id": "c1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]}

MODELS: Final[dict[tuple[str, str], Operation]] = {
    ("/v1/responses", "post"): operation(
        [answer(200, {JSON: _ANY, SSE: TEXT}), *refusals(*_ASKED, openai=True)],
        requestBody=body({JSON: _ANY}, {JSON: _RESPONSE}),
    ),
    ("/v1/responses/{name}", "get"): operation(
        [answer(200, {JSON: _ANY, SSE: TEXT}), *refusals(*_FOUND, openai=True)],
        query("stream", {"enum": ["false", "true"], "default": "false"}),
        query("starting_after", {"type": "integer", "minimum": 0}),
    ),
    ("/v1/responses/{name}", "delete"): operation(
        [answer(200, {JSON: _ANY}), *refusals(401, 403, 404, 503, openai=True)]
    ),
    ("/v1/responses/{name}/cancel", "post"): operation(
        [answer(200, {JSON: _ANY}), *refusals(401, 403, 404, 503, openai=True)]
    ),
    ("/v1/responses/{name}/input_items", "get"): operation(
        [answer(200, {JSON: _ANY}), *refusals(*_FOUND, openai=True)], *_PAGE
    ),
    ("/v1/chat/completions", "get"): operation(
        [answer(200, {JSON: _ANY}), *refusals(400, 401, 403, 503, openai=True)], *_PAGE, query("model", TEXT)
    ),
    ("/v1/chat/completions/{name}", "get"): operation([answer(200, {JSON: _ANY}), *refusals(*_FOUND, openai=True)]),
    ("/v1/chat/completions/{name}", "post"): operation(
        [answer(200, {JSON: _ANY}), *refusals(*_FOUND, 413, 415, openai=True)],
        requestBody=body({JSON: _ANY}, {JSON: {"metadata": {"topic": "demo"}}}),
    ),
    ("/v1/chat/completions/{name}", "delete"): operation([answer(200, {JSON: _ANY}), *refusals(*_FOUND, openai=True)]),
    ("/v1/chat/completions/{name}/messages", "get"): operation(
        [answer(200, {JSON: _ANY}), *refusals(*_FOUND, openai=True)], *_PAGE
    ),
    ("/v1/usage", "get"): operation(
        [answer(200, {JSON: _ANY}), *refusals(401, 403, 503, openai=True)], query("model", TEXT)
    ),
    ("/v1/ui/chat", "post"): operation(
        [answer(200, {SSE: TEXT}), *refusals(*_ASKED, openai=True)],
        requestBody=body({JSON: _ANY}, {JSON: _CHAT}),
    ),
    ("/v1/ui/chat/{chat}/stream", "get"): operation(
        [answer(200, {SSE: TEXT}), answer(204), *refusals(401, 403, 429, 503, openai=True)]
    ),
    ("/v1/ui/chat/{chat}/stream", "delete"): operation([answer(204), *refusals(401, 403, 503, openai=True)]),
}
