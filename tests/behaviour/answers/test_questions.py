"""Clients of POST /v1/chat/completions that leave, or ask what is refused."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.completions import ASK, DEEP, PATH, ask
from tests.support.models.model import HEAD, Model, silent
from tests.support.stack import Stack, connections

# Who leaves


def leaving(stack: Stack, user: str, **members: Any) -> socket.socket:
    """A request whose client can be made to leave."""
    host, _, port = str(stack.settings["http"]).partition(":")
    body = json.dumps(ASK | members)
    head = ["POST " + PATH + " HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in stack.bearer(user).items()]
    client = socket.create_connection((host, int(port)), timeout=40)
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
    """The refusal has the shape that clients of this API know, whatever is wrong."""
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
