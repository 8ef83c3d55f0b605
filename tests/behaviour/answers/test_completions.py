"""POST /v1/chat/completions, with the official client and without, and every way in which a model can fail."""

from __future__ import annotations

import json
import socket
from typing import Any

import openai
import pytest

from tests.support.clients.eventsource import until
from tests.support.models.completions import ASK, PATH, ask, data, sdk, text
from tests.support.models.model import HEAD, Conversation, Model, event, plain
from tests.support.stack import Stack

COUNT = {"stream_options": {"include_usage": True}}  # asked for by the service

# The official client


def test_the_client_streams(client: openai.OpenAI, model: Model) -> None:
    stream = client.chat.completions.create(**ASK, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello world"
    asked = model.asked()
    assert asked.json == ASK | {"stream": True} | COUNT
    assert asked.headers["authorization"] == "Bearer a-test-key"
    assert asked.headers[":path"] == "/v1/chat/completions"


def test_the_client_bears_heartbeats_between_tokens(client: openai.OpenAI, model: Model) -> None:
    model.script = lambda conversation: conversation.send(HEAD)
    stream = client.chat.completions.create(**ASK, stream=True)
    conversation = model.asked()
    heard: list[str] = []
    sock = stream.response.extensions["network_stream"].get_extra_info("socket")
    for word in ("one ", "two "):
        until(lambda: b":\n" in sock.recv(1000, socket.MSG_PEEK), "a heartbeat")
        conversation.say(word)
        heard.append(next(stream).choices[0].delta.content or "")
    conversation.done()
    heard += [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(heard) == "one two "


def test_the_client_gets_all_at_once(client: openai.OpenAI, model: Model) -> None:
    whole = {
        "id": "x", "object": "chat.completion", "created": 3, "model": "fake", "system_fingerprint": "fp", "odd": [1.5],
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hällo"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }  # fmt: skip
    model.script = lambda conversation: conversation.answer("200 OK", json.dumps(whole).encode())
    answer = client.chat.completions.with_raw_response.create(**ASK, extra_body={"top_k": 4})
    assert json.loads(answer.content) == whole
    assert answer.headers["x-generation-id"].startswith("gen_")
    assert answer.parse().choices[0].message.content == "Hällo"
    assert model.asked().json == ASK | {"top_k": 4}


def test_what_is_unknown_here_passes_untouched(answering: Stack, user: str, model: Model) -> None:
    """Tools, several choices, log probabilities, usage: to the model, and back."""
    members: dict[str, Any] = {
        "stream": True, "n": 2, "logprobs": True, "stream_options": {"include_usage": True}, "x": {"y": [None, 1.0]},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    }  # fmt: skip
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = [
        event("a", index=0, odd=1), event("b", index=1),
        event(None, choices=[{"index": 0, "delta": {"tool_calls": [call]}, "logprobs": {"content": [{"token": "t"}]}}]),
        event(None, choices=[], usage={"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}),
    ]  # fmt: skip

    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).chunk(b"".join(said) + b"data: [DONE]\n\n").send(b"0\r\n\r\n")

    model.script = script
    answer = ask(answering, user, **members)
    assert model.asked().json == ASK | members
    assert data(answer.text) == [*(json.loads(each[6:]) for each in said), "[DONE]"]
    kept = answering.get(f"/v1/generations/{answer.headers['x-generation-id']}", answering.bearer(user)).json()
    assert kept["usage"] == {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15}
    assert [choice["message"]["content"] for choice in kept["choices"]] == ["a", "b"]
    assert kept["choices"][0]["message"]["tool_calls"] == [{k: v for k, v in call.items() if k != "index"}]


def test_a_question_that_names_no_model(answering: Stack, user: str, model: Model) -> None:
    answering.post(PATH, {"messages": ASK["messages"], "stream": True}, answering.bearer(user))
    assert model.asked().json == {"messages": ASK["messages"], "stream": True, "model": "the-default"} | COUNT


def test_the_mock_needs_nobody(stack: Stack, user: str) -> None:
    client = sdk(stack, user)
    options: dict[str, Any] = {"messages": ASK["messages"], "model": "mock", "max_tokens": 30}
    chunks = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said.startswith("You said: “hi”")
    assert len(said) == 30
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 30
    assert chunks[-2].choices[0].finish_reason == "length"
    assert client.chat.completions.create(**options).choices[0].message.content == said


def test_connections_to_the_model_are_kept(client: openai.OpenAI, model: Model) -> None:
    before = model.connections
    for _ in range(5):
        list(client.chat.completions.create(**ASK, stream=True))
    assert model.connections - before <= 2  # one for each worker


# The wire


@pytest.mark.every_redis
def test_any_server_in_any_pieces(answering: Stack, door: str, user: str, model: Model) -> None:
    """A byte at a time, with CR LF, in chunks that break characters and line ends."""
    body = "".join(f"data: {json.dumps(_value(word), ensure_ascii=False)}\r\n\r\n" for word in ("Gr", "ü", "ße ", "🚀"))
    body += "data: [DONE]\r\n\r\n"

    def script(conversation: Conversation) -> None:
        conversation.send(HEAD)
        for byte in body.encode():
            conversation.chunk(bytes([byte]))
        conversation.send(b"0\r\n\r\n")

    model.script = script
    answer = answering.post(PATH, ASK | {"stream": True}, answering.bearer(user), door)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert text(data(answer.text)) == "Grüße 🚀"
    assert answer.text.count("[DONE]") == 1


def _value(word: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(event(word)[6:])
    return value


def test_a_kept_connection_that_closes_as_it_is_asked(answering: Stack, user: str, model: Model) -> None:
    """The question goes out once more, on a connection of its own."""
    closed: list[Conversation] = []

    def script(conversation: Conversation) -> None:
        if not closed and [each.sock for each in model.conversations].count(conversation.sock) > 1:
            closed.append(conversation)
            conversation.close()
        else:
            plain(conversation)

    model.script = script
    for _ in range(4):  # of two workers, one is asked again
        assert text(data(ask(answering, user, stream=True).text)) == "Hello world"
    assert closed
    assert len(model.conversations) == 5


def test_a_stream_that_ends_with_its_connection(answering: Stack, user: str, model: Model) -> None:
    """The response is HTTP/1.0's, and its end is told by a reason and not by [DONE]."""

    def script(conversation: Conversation) -> None:
        conversation.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        conversation.send(event("all") + event(None, finish_reason="stop"))
        conversation.sock.close()

    model.script = script
    assert text(data(ask(answering, user, stream=True).text)) == "all"


def test_a_model_that_does_not_stream_though_asked(answering: Stack, user: str, model: Model) -> None:
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "all"}, "finish_reason": "stop"}]}
    model.script = lambda conversation: conversation.answer("200 OK", json.dumps(whole).encode())
    assert text(data(ask(answering, user, stream=True).text)) == "all"


def test_continue_comes_before_the_answer(answering: Stack, user: str, model: Model) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD).say("all").done()

    model.script = script
    assert text(data(ask(answering, user, stream=True).text)) == "all"
