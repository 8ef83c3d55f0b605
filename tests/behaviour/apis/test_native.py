"""A model's server that speaks the Responses API itself (LLM_RESPONSES=passthrough), whole or half-way."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.conftest import Start
from tests.support.models.completions import data
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.models.model import Model as Server
from tests.support.stack import Stack

RESPONSE: dict[str, Any] = {
    "id": "theirs", "object": "response", "model": "real", "created_at": 1, "status": "in_progress", "output": [],
    "tools": [], "tool_choice": "auto", "parallel_tool_calls": True,
}  # fmt: skip
MESSAGE: dict[str, Any] = {
    "id": "msg_theirs", "type": "message", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "Hello", "annotations": [{"odd": 1}]}],
}  # fmt: skip
USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
LAST = RESPONSE | {"status": "completed", "output": [MESSAGE], "usage": USAGE}


def events(last: dict[str, Any]) -> list[dict[str, Any]]:
    part = {"item_id": "msg_theirs", "output_index": 0, "content_index": 0, "logprobs": []}
    said: list[dict[str, Any]] = [
        {"type": "response.created", "response": RESPONSE},
        {"type": "response.web_search_call.searching", "item_id": "ws", "new": {"x": 1.50}},
        {"type": "response.output_text.delta", "delta": "Hel"} | part,
        {"type": "response.output_text.delta", "delta": "lo"} | part,
        last,
    ]
    return [each | {"sequence_number": 3 * number} for number, each in enumerate(said)]


def wire(told: list[dict[str, Any]]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in told)


def streaming(conversation: Conversation) -> None:
    done = {"type": "response.completed", "response": LAST}
    conversation.send(HEAD).chunk(wire(events(done))).send(b"0\r\n\r\n")


@pytest.fixture
def native(shared: Start, model: Model) -> Stack:
    return shared(llm_base_url=model.url, llm_responses="passthrough", workers=1)


def client(stack: Stack, user: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.token(user), max_retries=0)


def test_it_passes_both_ways(native: Stack, user: str, model: Server) -> None:
    model.script = streaming
    asked: dict[str, Any] = {"model": "m", "input": "q", "tools": [{"type": "web_search"}], "prompt": {"id": "p"}}
    answer = native.post("/v1/responses", asked | {"stream": True}, native.bearer(user))
    sent = model.asked()
    assert (sent.headers[":path"], sent.json) == ("/v1/responses", asked | {"stream": True})
    heard = data(answer.text)
    assert [each["type"] for each in heard] == [each["type"] for each in events({"type": "response.completed"})]
    assert [each["sequence_number"] for each in heard] == list(range(5))
    assert heard[1] == {
        "type": "response.web_search_call.searching",
        "item_id": "ws",
        "new": {"x": 1.5},
        "sequence_number": 1,
    }
    name = heard[0]["response"]["id"]
    assert heard[-1]["response"]["output"] == [MESSAGE]
    assert {heard[-1]["response"]["id"], f"resp_{answer.headers['x-generation-id'][4:]}"} == {name}
    speaker = client(native, user)
    assert [each.sequence_number for each in speaker.responses.retrieve(name, stream=True, starting_after=2)] == [3, 4]
    again = speaker.responses.create(model="m", input="r", previous_response_id=name, background=True, store=True)
    assert model.asked(2).json["previous_response_id"] == "theirs"
    assert "background" not in model.asked(2).json
    assert [item.type for item in speaker.responses.input_items.list(again.id)] == ["message"]
    kept = native.get(f"/v1/generations/{answer.headers['x-generation-id']}", native.bearer(user)).json()
    assert (kept["text"], kept["usage"]["completion_tokens"], kept["state"]) == ("Hello", 2, "completed")
    assert native.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "q"}]}, native.bearer(user))
    assert model.asked(3).headers[":path"] == "/v1/chat/completions"


BROKEN: dict[str, Any] = {
    "cut": lambda c: c.send(HEAD).chunk(wire(events({})[:4])).close(),
    "ended early": lambda c: c.send(HEAD).chunk(wire(events({})[:4])).send(b"0\r\n\r\n"),
    "failed": lambda c: c.send(HEAD).chunk(
        wire(events({"type": "response.failed", "response": RESPONSE | {"error": {"message": "m"}}}))
    ),
    "error": lambda c: c.send(HEAD).chunk(wire(events({"type": "error", "code": "c", "message": "m"}))),
    "no JSON": lambda c: c.send(HEAD).chunk(wire(events({})[:4]) + b"data: {no\n\n"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_it_breaks_off(native: Stack, user: str, model: Server, how: str) -> None:
    model.script = BROKEN[how]
    last: Any
    *_, last = client(native, user).responses.create(model="m", input="q", stream=True)
    assert (last.type, last.sequence_number) == ("response.failed", 4)
    assert last.response.status == "failed"
    assert client(native, user).responses.retrieve(last.response.id).status == "failed"


def test_it_comes_whole_or_is_refused(native: Stack, user: str, model: Server) -> None:
    model.script = lambda c: c.answer("200 OK", json.dumps(LAST).encode())
    assert client(native, user).responses.create(model="m", input="q").output_text == "Hello"
    model.script = lambda c: c.answer("400 Bad", b'{"error":{"message":"no such tool","param":"tools","code":"k"}}')
    with pytest.raises(openai.BadRequestError, match="no such tool"):
        client(native, user).responses.create(model="m", input="q")
