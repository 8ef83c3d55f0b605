"""POST /v1/chat/completions, with the official client and without, and every way in which a model can fail."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.completions import ASK, PATH, ask, data, reset, sdk, text
from tests.support.models.model import HEAD, Conversation, Model, event, plain, silent
from tests.support.stack import Stack, connections


@pytest.fixture
def client(answering: Stack, user: str) -> openai.OpenAI:
    return sdk(answering, user)


# The official client


def test_the_client_streams(client: openai.OpenAI, model: Model) -> None:
    stream = client.chat.completions.create(**ASK, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello world"
    asked = model.asked()
    assert asked.json == ASK | {"stream": True}
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
    assert model.asked().json == {"messages": ASK["messages"], "stream": True, "model": "the-default"}


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
    """As HTTP/1.0 has it; the end was said by a reason and not by [DONE]."""

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


# Failures


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_keeps_its_status_and_body(answering: Stack, user: str, model: Model, stream: bool) -> None:
    body = b'{ "error": {"message": "slow down", "type": "rate", "code": "rate_limited"} }'
    model.script = lambda conversation: conversation.answer("429 Too Many", body, "application/json", "Retry-After: 7")
    answer = ask(answering, user, stream=stream)
    assert (answer.status_code, answer.content) == (429, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["retry-after"] == "7"
    kept = answering.get(f"/v1/generations/{answer.headers['x-generation-id']}", answering.bearer(user)).json()
    assert (kept["state"], kept["error"]["message"], kept["error"]["status"]) == ("upstream_error", "slow down", 429)


def test_the_client_raises_what_the_model_refused(client: openai.OpenAI, model: Model) -> None:
    model.script = lambda conversation: conversation.answer("429 Too Many", b'{"error": {"message": "slow down"}}')
    with pytest.raises(openai.RateLimitError, match="slow down"):
        client.chat.completions.create(**ASK, stream=True)


DEEP = b'{"a":' * 500 + b"1" + b"}" * 500


def endless(conversation: Conversation) -> None:
    conversation.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        conversation.send(b"X-Odd: %b\r\n" % (b"x" * 1000))


BEFORE: dict[str, tuple[Callable[[Conversation], object], str | None]] = {
    "html": (lambda c: c.answer("200 OK", b"<html>Welcome!</html>", "text/html"), "upstream_malformed"),
    "not http": (lambda c: c.send(b"SSH-2.0-x\r\n").close(), "upstream_malformed"),
    "nothing": (Conversation.close, "upstream_closed"),
    "reset": (reset, "upstream_closed"),
    "half a head": (lambda c: c.send(HEAD[:20]).close(), "upstream_closed"),
    "json that is none": (lambda c: c.answer("200 OK", b'{"choices": '), "upstream_malformed"),
    "json that is nested without end": (lambda c: c.answer("200 OK", b'{"choices": %b}' % DEEP), "upstream_malformed"),
    "a refusal like that": (lambda c: c.answer("502 Bad", b'{"error": %b}' % DEEP), None),
    "a head without end": (endless, "upstream_malformed"),
    "no choices": (lambda c: c.answer("200 OK", b"{}"), "upstream_malformed"),
    "an error with status 200": (lambda c: c.answer("200 OK", b'{"error": {"message": "x", "code": "y"}}'), "y"),
    "a redirect": (lambda c: c.answer("302 Found", b"", "text/html", "Location: /"), "upstream_refused"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("what", BEFORE)
def test_no_answer_at_all(answering: Stack, user: str, model: Model, what: str, stream: bool) -> None:
    model.script, code = BEFORE[what]
    answer = ask(answering, user, stream=stream)
    assert answer.status_code == 502, answer.text
    assert answer.headers["content-type"] == "application/json"
    if code is None:
        assert answer.content == b'{"error": %b}' % DEEP
        return
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["type"] == "upstream_error"


def lines(count: int) -> Callable[[Conversation], object]:
    def script(conversation: Conversation) -> None:
        for _ in range(count):
            conversation.chunk(b"x" * 2**20)

    return script


AMID: dict[str, tuple[Callable[[Conversation], object], str]] = {
    "a malformed chunk": (lambda c: c.chunk(b"data: {nonsense\n\n"), "upstream_malformed"),
    "a chunk that is no object": (lambda c: c.chunk(b"data: [1]\n\n"), "upstream_malformed"),
    "not utf-8": (lambda c: c.chunk(b'data: {"a": "\xff"}\n\n'), "upstream_malformed"),
    "the end without [DONE]": (lambda c: c.send(b"0\r\n\r\n"), "upstream_closed"),
    "a closed connection": (Conversation.close, "upstream_closed"),
    "a reset": (reset, "upstream_closed"),
    "broken framing": (lambda c: c.send(b"zzz\r\n"), "upstream_malformed"),
    "a line of 9 MB": (lines(9), "upstream_malformed"),
    "one that is nested without end": (lambda c: c.chunk(b'data: {"error": %b}\n\n' % DEEP), "upstream_malformed"),
    "an error": (lambda c: c.chunk(b'data: {"error": {"message": "boom", "code": "b"}}\n\n'), "b"),
}


@pytest.mark.parametrize("what", AMID)
def test_a_model_that_fails_in_the_middle(answering: Stack, user: str, model: Model, what: str) -> None:
    fail, code = AMID[what]

    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).say("begun")
        fail(conversation)

    model.script = script
    answer = ask(answering, user, stream=True)
    assert answer.status_code == 200
    *said, failure, done = data(answer.text)
    assert text(said) == "begun"
    assert failure["error"]["code"] == code
    assert failure["error"]["message"]
    assert done == "[DONE]"
    kept = answering.get(f"/v1/generations/{answer.headers['x-generation-id']}", answering.bearer(user)).json()
    assert (kept["state"], kept["text"], kept["error"]["code"]) == ("upstream_error", "begun", code)


def test_the_client_raises_an_error_amid(client: openai.OpenAI, model: Model) -> None:
    model.script = lambda c: c.send(HEAD).say("begun").chunk(b'data: {"error": {"message": "boom"}}\n\n')
    with pytest.raises(openai.APIError, match="boom"):
        list(client.chat.completions.create(**ASK, stream=True))


def test_nobody_is_there(start: Start, user: str) -> None:
    stack = start(llm_base_url="http://127.0.0.1:1/v1", workers=1)
    for stream in (True, False):
        answer = ask(stack, user, stream=stream)
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_unreachable"


@pytest.fixture(scope="module")
def impatient(_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    running = Stack(
        tmp_path_factory.mktemp("impatient"), llm_base_url=_model.url, workers=1,
        llm_first_token_seconds=0.4, llm_between_tokens_seconds=0.8, llm_total_seconds=1.6,
    )  # fmt: skip
    yield running
    running.stop()


def test_a_model_that_never_answers(impatient: Stack, user: str, model: Model) -> None:
    model.script = silent
    answer = ask(impatient, user, stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "first_token_timeout")
    model.asked().wait_for_hang_up()
    answer = ask(impatient, user)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "total_timeout")
    model.asked(2).wait_for_hang_up()


@pytest.mark.parametrize(
    ("said", "code"), [([], "first_token_timeout"), (["a"], "between_tokens_timeout"), (["a"] * 9, "total_timeout")]
)
def test_a_model_that_falls_silent(impatient: Stack, user: str, model: Model, said: list[str], code: str) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD)
        for word in said:
            conversation.say(word)
            conversation.hung_up.wait(0.3)

    model.script = script
    answer = ask(impatient, user, stream=True)
    *told, failure, done = data(answer.text)
    assert (failure["error"]["code"], failure["error"]["type"], done) == (code, "timeout", "[DONE]")
    assert text(told) == text(told[:1]) * len(told)
    model.asked().wait_for_hang_up()
    kept = impatient.get(f"/v1/generations/{answer.headers['x-generation-id']}", impatient.bearer(user)).json()
    assert kept["state"] == "timeout"


# Who leaves


def leaving(stack: Stack, user: str, **members: Any) -> socket.socket:
    """A request whose client can be made to leave."""
    host, _, port = str(stack.settings["http"]).partition(":")
    body = json.dumps(ASK | members)
    head = ["POST " + PATH + " HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in stack.bearer(user).items()]
    client = socket.create_connection((host, int(port)), timeout=15)
    client.sendall("\r\n".join([*head, "", body]).encode())
    return client


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_does_not_end_it(answering: Stack, user: str, model: Model, stream: bool) -> None:
    model.script = silent
    asker = leaving(answering, user, stream=stream)
    conversation = model.asked()
    asker.close()
    if stream:
        conversation.send(HEAD).say("all the same").done()
    else:
        message = {"role": "assistant", "content": "all the same"}
        conversation.answer("200 OK", json.dumps({"choices": [{"message": message}]}).encode())
    until(lambda: newest(answering, user)["state"] == "completed", "the answer to be completed")
    assert newest(answering, user)["text"] == "all the same"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("begun", [True, False])
def test_unless_it_was_asked_so(answering: Stack, user: str, model: Model, stream: bool, begun: bool) -> None:
    model.script = (lambda c: c.send(HEAD).say("a")) if begun and stream else silent
    asker = leaving(answering, user, stream=stream, on_disconnect="cancel")
    conversation = model.asked()
    assert "on_disconnect" not in conversation.json
    if begun and stream:
        until(lambda: b'"a"' in asker.recv(65536, socket.MSG_PEEK), "the first token")
    asker.close()
    conversation.wait_for_hang_up()
    until(lambda: newest(answering, user)["state"] == "cancelled", "the answer to be cancelled")


def newest(stack: Stack, user: str) -> Any:
    return stack.get("/v1/generations", stack.bearer(user), limit=1).json()["data"][0]


def test_a_complete_answer_is_not_cancelled_by_its_reader_s_leaving(answering: Stack, user: str, model: Model) -> None:
    answer = ask(answering, user, stream=True, on_disconnect="cancel")
    assert answer.text.count("[DONE]") == 1
    assert newest(answering, user)["state"] == "completed"


# Bad questions


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"), ({"messages": []}, "messages"), ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"), ({"messages": [{}]}, "messages[0]"),
        ({"messages": [{"role": 1}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (ASK | {"model": 3}, "model"), (ASK | {"stream": "yes"}, "stream"), (ASK | {"stream": 1}, "stream"),
        (ASK | {"on_disconnect": "explode"}, "on_disconnect"), ([ASK], None), (3, None),
        (ASK | {"deep": json.loads(DEEP)}, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [PATH, "/v1/generations"])
def test_bad_questions(answering: Stack, user: str, model: Model, path: str, body: Any, field: str | None) -> None:
    answer = answering.post(path, body, answering.bearer(user))
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", field, "bad_request")
    assert error["message"].startswith(field or "The body")
    assert not model.conversations


@pytest.mark.parametrize("path", [PATH, "/v1/generations"])
def test_bad_requests(answering: Stack, user: str, path: str) -> None:
    """In the shape that clients of this API know, whatever is wrong."""
    bearer, url = answering.bearer(user), answering.url + path
    ask = json.dumps(ASK)
    cases: list[tuple[int, str, httpx.Response]] = [
        (400, "invalid_request_error", httpx.post(url, content="{", headers=bearer | JSON)),
        (401, "authentication_error", httpx.post(url, content=ask, headers=JSON)),
        (401, "authentication_error", httpx.post(url, content=ask, headers=JSON | {"Authorization": "Bearer x"})),
        (403, "permission_error", httpx.post(url, content=ask, headers=JSON | answering.bearer(publish=["*"]))),
        (405, "invalid_request_error", httpx.put(url, content=ask, headers=bearer | JSON)),
        (413, "invalid_request_error", httpx.post(url, content=b"[" + b" " * 9 * 2**20, headers=bearer | JSON)),
        (415, "invalid_request_error", httpx.post(url, content=ask, headers=bearer)),
        (
            400,
            "invalid_request_error",
            httpx.post(url, content=ask, headers=bearer | JSON | {"Idempotency-Key": "x" * 300}),
        ),
        (404, "not_found_error", httpx.get(f"{answering.url}/v1/nothing", headers=bearer)),
    ]
    for status, kind, answer in cases:
        assert answer.status_code == status, (status, answer.text)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]["type"] == kind, answer.text
        assert answer.json()["error"]["message"]


JSON = {"Content-Type": "application/json"}


def test_so_many_answers_at_a_time(start: Start, user: str, model: Model) -> None:
    model.script = silent
    stack = start(llm_base_url=model.url, llm_max_generations=2, workers=1)
    ids = [stack.post("/v1/generations", ASK, stack.bearer(user)).json()["id"] for _ in range(2)]
    refused = ask(stack, user)
    assert refused.status_code == 429
    assert refused.headers["retry-after"]
    assert refused.json()["error"]["type"] == "rate_limit_error"
    httpx.delete(f"{stack.url}/v1/generations/{ids[0]}", headers=stack.bearer(user), trust_env=False)
    model.script = lambda c: c.answer("200 OK", b'{"choices": [{"message": {"content": "ok"}}]}')
    until(lambda: ask(stack, user).status_code == 200, "room for another")


@pytest.mark.every_redis
def test_connections_are_counted_out(answering: Stack, user: str, model: Model) -> None:
    generation_id = ask(answering, user, stream=True).headers["x-generation-id"]
    until(lambda: not connections(answering, f"answer:{generation_id}"), "its connection to be counted out")
