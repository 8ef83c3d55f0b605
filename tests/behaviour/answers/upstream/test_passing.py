"""The paths of PUSHSVC_LLM_PASS go through to the model's server as they are."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.completions import ask, reset, sdk
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack

VECTORS = b'{"object":"list", "data":[{"object":"embedding","embedding":[0.10,1e-7],"index":0}],"model":"m"}'
FORM = {"model": "whisper", "language": "de"}


@pytest.fixture
def passing(shared: Start, model: Model) -> Stack:
    """A stack that passes on the paths of its setting, besides those that are always passed on."""
    return shared(
        llm_base_url=model.url, llm_pass="messages, /v1/audio/transcriptions", llm_headers="x-api-key: ours", workers=1,
        llm_max_generations_per_user=2, llm_first_token_seconds=1, llm_between_tokens_seconds=1, rate_ask="off",
    )  # fmt: skip


def test_embeddings_go_through(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("200 OK", VECTORS, "application/json", "x-request-id: r1", "set-cookie: a=b")
    sent = b'{ "model":"m",\t"input":["a", 1e0] }'
    headers = answering.bearer(user) | {"Content-Type": "application/json"}
    answer = httpx.post(f"{answering.url}/v1/embeddings?b=1&ticket=x", content=sent, headers=headers, trust_env=False)
    assert (answer.status_code, answer.content) == (200, VECTORS)
    assert (answer.headers["content-type"], answer.headers["x-request-id"]) == ("application/json", "r1")
    assert "set-cookie" not in answer.headers
    asked = model.asked()
    assert (asked.headers[":path"], asked.body) == ("/v1/embeddings?b=1", sent)
    assert (asked.headers["authorization"], asked.headers["content-type"]) == ("Bearer a-test-key", "application/json")
    assert sdk(answering, user).embeddings.create(model="m", input="a", encoding_format="float").data[0].index == 0
    assert answering.get("/v1/generations", answering.bearer(user)).json()["data"] == []  # nothing is kept


def test_a_stream_comes_as_it_is_made(answering: Stack, user: str, model: Model, door: str) -> None:
    piece = b'data: {"choices":[{"text":"a","index":0}]}\n\n'
    model.script = lambda c: c.send(HEAD).chunk(piece)
    body = {"model": "m", "prompt": "p", "stream": True}
    with httpx.stream(
        "POST", f"{door}/v1/completions", json=body, headers=answering.bearer(user), trust_env=False
    ) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        pieces = answer.iter_raw()
        assert next(pieces) == piece
        model.asked().chunk(piece).send(b"0\r\n\r\n")
        assert b"".join(pieces) == piece


def test_a_file_goes_through(passing: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("200 OK", b"hello", "text/plain")
    audio = bytes(range(256)) * 1000
    answer = httpx.post(
        f"{passing.url}/v1/audio/transcriptions", data=FORM, files={"file": ("a.wav", audio)},
        headers=passing.bearer(user), trust_env=False,
    )  # fmt: skip
    assert (answer.status_code, answer.text) == (200, "hello")
    asked = model.asked()
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert audio in asked.body


def test_headers_of_anthropic_s_clients(passing: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("200 OK", b"{}", "application/json", "request-id: q", "anthropic-ratelimit-x: 7")
    theirs = {"anthropic-version": "2023-06-01", "anthropic-beta": "b", "cookie": "a=b", "x-api-key": "theirs"}
    answer = passing.post("/v1/messages?beta=true", {"max_tokens": 1}, passing.bearer(user) | theirs)
    assert (answer.headers["request-id"], answer.headers["anthropic-ratelimit-x"]) == ("q", "7")
    asked = model.asked().headers
    assert (asked[":path"], asked["x-api-key"], asked["anthropic-beta"]) == ("/v1/messages?beta=true", "ours", "b")
    assert asked["anthropic-version"] == "2023-06-01"
    assert "cookie" not in asked
    assert "authorization" not in asked  # the user's token


# Who leaves, and what fails


def post(stack: Stack, user: str, path: str, base: str) -> socket.socket:
    """Ask by hand, so as to leave in any moment."""
    parts = urlsplit(base)
    asking = socket.create_connection((parts.hostname or "", parts.port or 80))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {stack.bearer(user)['Authorization']}\r\n"
    asking.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    return asking


BEGINNINGS: dict[str, Callable[[Conversation], object]] = {
    "before the head": lambda c: None,
    "whole": lambda c: c.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
    "streamed": lambda c: c.send(HEAD).chunk(b"data: 1\n\n"),
}


@pytest.mark.parametrize("what", BEGINNINGS)
def test_the_model_is_hung_up_on_when_the_client_leaves(
    answering: Stack, user: str, model: Model, door: str, what: str
) -> None:
    def script(conversation: Conversation) -> None:
        BEGINNINGS[what](conversation)
        conversation.wait_for_hang_up()

    model.script = script
    asking = post(answering, user, "/v1/completions", door)
    asked = model.asked()
    if what != "before the head":
        assert asking.recv(100).startswith(b"HTTP/1.1 200")
    asking.close()
    assert asked.hung_up.wait(15)


FAILURES: dict[str, tuple[Callable[[Conversation], object], int, str]] = {
    "refused": (lambda c: c.answer("401 No", b'{"error":{"message":"no","code":"k"}}'), 502, "k"),
    "wrong": (lambda c: c.answer("422 No", b'{"error":{"code":"w"}}'), 422, "w"),
    "closed": (Conversation.close, 502, "upstream_closed"),
    "reset": (reset, 502, "upstream_closed"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_an_answer_that_does_not_come(answering: Stack, user: str, model: Model, what: str) -> None:
    model.script, status, code = FAILURES[what]
    answer = answering.post("/v1/embeddings", {}, answering.bearer(user))
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("rest", ["cut", "silent"])
def test_a_stream_that_breaks_is_cut(passing: Stack, user: str, model: Model, rest: str) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).chunk(b"data: 1\n\n")
        conversation.close() if rest == "cut" else conversation.wait_for_hang_up()

    model.script = script
    with (
        pytest.raises(httpx.RemoteProtocolError),
        httpx.stream(
            "POST", f"{passing.url}/v1/messages", json={}, headers=passing.bearer(user), trust_env=False
        ) as answer,
    ):
        assert answer.read() == b"never"


def test_a_page_is_not_shown_as_ours(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("200 OK", b"<script>alert(1)</script>", "text/html")
    answer = answering.post("/v1/embeddings", {}, answering.bearer(user))
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == (
        "text/plain; charset=utf-8", "nosniff",
    )  # fmt: skip


# Who may ask, and where


def test_who_may_ask(answering: Stack, passing: Stack, user: str, model: Model) -> None:
    assert httpx.post(f"{answering.url}/v1/embeddings", json={}, trust_env=False).status_code == 401
    large = answering.post("/v1/embeddings", "x" * 8 * 2**20, answering.bearer(user))
    assert (large.status_code, "8388608 bytes" in large.text) == (413, True)
    assert not model.conversations
    model.script = lambda c: c.wait_for_hang_up()
    waiting = [post(passing, user, "/v1/messages", passing.app_url) for _ in range(2)]
    model.asked(2)
    refused = passing.post("/v1/messages", {}, passing.bearer(user))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    for each in waiting:
        each.close()
    model.script = lambda c: c.answer("200 OK", b"{}")
    until(lambda: passing.post("/v1/messages", {}, passing.bearer(user)).status_code == 200, "room for another")


def test_the_rate_of_questions_holds(shared: Start, user: str, model: Model) -> None:
    stack = shared(llm_base_url=model.url, rate_ask="2 per hour", workers=1)
    model.script = lambda c: c.answer("200 OK", b'{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}')
    assert ask(stack, user).status_code == 200
    assert [stack.post("/v1/embeddings", {}, stack.bearer(user)).status_code for _ in range(2)] == [200, 429]


def test_other_paths_are_named(passing: Stack, user: str, model: Model) -> None:
    for path in ("/v1/embeddings", "/v1/messages/count_tokens", "/v1/audio"):
        answer = passing.post(path, {}, passing.bearer(user))
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
        for each in ("POST /v1/messages", "POST /v1/audio/transcriptions", "GET /v1/models", "PUSHSVC_LLM_PASS"):
            assert each in answer.json()["error"]["message"]
    assert passing.get("/v1/messages", passing.bearer(user)).status_code == 405
    assert not model.conversations
