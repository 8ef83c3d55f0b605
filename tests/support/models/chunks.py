"""Pieces of a model's answer as its server sends them."""

from __future__ import annotations

import gzip
from typing import Any

from tests.support.models.completions import ask, data, text
from tests.support.models.model import event
from tests.support.stack import Stack

DONE = b"data: [DONE]\n\n"
STOP = event(None, finish_reason="stop")


def chunk(text: str | None = None, index: int = 0, **members: Any) -> dict[str, Any]:
    """Make a chunk of an answer; `members` are those of its choice."""
    delta = {} if text is None else {"content": text}
    choice = {"index": index, "delta": delta, "finish_reason": None} | members
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def kept(stack: Stack, user: str, answer: Any) -> Any:
    path = f"/v1/generations/{answer.headers['x-generation-id']}"
    return stack.get(path, stack.bearer(user)).json()


def said(stack: Stack, user: str, *, stream: bool, **members: Any) -> str:
    """The text of the answer, as it was asked for; it must be kept as complete."""
    answer = ask(stack, user, stream=stream, **members)
    assert answer.status_code == 200, answer.text
    described = kept(stack, user, answer)
    assert (described["state"], described["error"]) == ("completed", None)
    if stream:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = data(answer.text)
        assert events[-1] == "[DONE]"
        assert text(events) == described["text"]
        return text(events)
    assert answer.headers["content-type"] == "application/json"
    found: str = answer.json()["choices"][0]["message"]["content"]
    assert found == described["text"]
    return found


def members(body: bytes) -> bytes:
    return gzip.compress(body[:9]) + gzip.compress(body[9:])


CHUNKS: dict[str, bytes] = {
    "no choices": b'{"id":"c1"}',
    "null choices": b'{"choices":null}',
    "empty choices": b'{"choices":[],"usage":{"total_tokens":3}}',
    "a null index": b'{"choices":[{"index":null,"delta":{},"finish_reason":null}]}',
    "a null delta": b'{"choices":[{"index":0,"delta":null}]}',
    "no delta": b'{"choices":[{"index":0}]}',
    "a null error": b'{"error":null,"choices":[]}',
    "1.5 MB": b'{"choices":[],"image":"%b"}' % (b"x" * 1_500_000),
    "many digits": b'{"choices":[],"n":1e400,"m":-0}',
    "blanks": b'  {"choices":[]}  ',
    "nothing": b"",
    "blanks alone": b"  ",
}
