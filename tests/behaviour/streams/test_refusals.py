"""Refusals that pass, and how streams end: no page dies of them, and no client takes a piece for the whole."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.models.model import HEAD, Model, event
from tests.support.stack import Stack, connections

PAGE = "https://app.example.com"
PATHS = ["/events", "/v1/generations/gen_0/events", "/v1/generations/events"]
REFUSED = re.compile(rb"\A(?:([0-9A-Fa-f]+)\r\n)?retry: (\d+)\nevent: refused\ndata: (\{.*\})\n\n(?:\r\n)?\Z")


@contextmanager
def asked(base: str, path: str, headers: dict[str, str], body: bytes = b"", version: str = "1.1") -> Iterator[Any]:
    """A request on a plain socket."""
    host, _, port = base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        lines = [f"{'POST' if body else 'GET'} {path} HTTP/{version}", "Host: x", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
        client.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        yield client


def answer(client: socket.socket) -> tuple[bytes, bytes]:
    """Head and body, as they are on the wire, once the server has closed."""
    taken = b""
    while piece := client.recv(65536):
        taken += piece
    head, _, body = taken.partition(b"\r\n\r\n")
    return head, body


def is_refused(head: bytes, body: bytes, status: int, retry_after: int) -> None:
    """Check that the answer is one event with the problem, and then ends."""
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Type: text/event-stream; charset=utf-8\r\n" in head
    assert b"\r\nCache-Control: no-store, no-transform\r\n" in head
    told = REFUSED.match(body)
    assert told is not None, body
    assert 500 * retry_after <= int(told[2]) <= 1500 * retry_after
    problem = json.loads(told[3])
    assert problem["status"] == status
    assert problem["detail"]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker that takes no connection."""
    running = Stack(tmp_path_factory.mktemp("full"), workers=1, max_connections=1, allowed_origins=PAGE)
    with running.listen("first"):
        yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("door", ["nginx", "gunicorn"])
def test_a_worker_that_is_full_tells_pages_to_come_back(full: Stack, user: str, path: str, door: str) -> None:
    base = full.url if door == "nginx" else full.app_url
    page = full.bearer(user) | {"Accept": "text/event-stream", "Origin": PAGE}
    with asked(base, path, page) as client:
        head, body = answer(client)
    is_refused(head, body, 503, 5)
    assert f"\r\nAccess-Control-Allow-Origin: {PAGE}\r\n".encode() in head
    assert b"\r\nAccess-Control-Allow-Credentials: true" in head
    with asked(full.app_url, path, page, version="1.0") as client:
        head, body = answer(client)
    assert body.startswith(b"retry: ")
    for headers in ({}, {"Accept": "*/*"}):
        refused = httpx.get(f"{base}{path}", headers=full.bearer(user) | headers, trust_env=False)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.headers["content-type"].startswith("application/")
    assert httpx.head(f"{base}{path}", headers=page, trust_env=False).status_code == 503


def test_a_question_is_refused_with_a_status_whatever_it_accepts(full: Stack, user: str) -> None:
    question = {"model": "mock", "stream": True, "messages": [{"role": "user", "content": "?"}]}
    headers = full.bearer(user) | {"Accept": "text/event-stream"}
    assert full.post("/v1/chat/completions", question, headers).status_code == 503


def test_a_refused_try_spends_no_ticket_and_the_ticket_is_kept(full: Stack, user: str) -> None:
    body = {"user": user, "ttl": 5}
    ticket = full.post("/tickets", body, full.bearer(subscribe=["*"])).json()["url"]
    with EventSource(f"{full.app_url}{ticket}") as source:
        source.wait(lambda source: source.refusals, "the refusal")
    [key] = [key for key in full.redis.keys("*ticket:*") if full.redis.ttl(key) > 0]
    assert 590 <= full.redis.ttl(key) <= 600


def test_what_does_not_pass_stays_what_it_is(stack: Stack, user: str) -> None:
    page = {"Accept": "text/event-stream"}
    for path, headers, status in (
        ("/events", {}, 401),
        ("/events", {"Authorization": "Bearer x"}, 401),
        ("/events?ticket=x", {}, 401),
        ("/events?since=yesterday", stack.bearer(user), 400),
        ("/events?topics=secret", stack.bearer(user), 403),
        ("/v1/generations/gen_0/events", stack.bearer(user), 404),
    ):
        got = httpx.get(f"{stack.url}{path}", headers=page | headers, trust_env=False)
        assert got.status_code == status, path


def test_while_redis_is_away_pages_are_told_to_come_back(start: Start, user: str) -> None:
    stack = start(workers=1, allowed_origins=PAGE)
    pid = stack.pids()["valkey"][0]
    os.kill(pid, signal.SIGSTOP)
    try:
        for path in PATHS:
            page = stack.bearer(user) | {"Accept": "text/event-stream", "Origin": PAGE}
            with asked(stack.app_url, path, page) as client:
                head, body = answer(client)
            is_refused(head, body, 503, 1)
            assert f"\r\nAccess-Control-Allow-Origin: {PAGE}\r\n".encode() in head
    finally:
        os.kill(pid, signal.SIGCONT)


# Streams that are let go


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_drained_stream_is_told_so_and_cut(start: Start, user: str, version: str) -> None:
    stack = start(workers=1, drain_seconds=1)
    with asked(stack.app_url, "/events", stack.bearer(user), version=version) as client:
        until(lambda: connections(stack, user) == 1, "it to be connected")
        os.kill(stack.pids()["gunicorn"][0], signal.SIGTERM)
        _, body = answer(client)
    last = body.rpartition(b"retry: ")
    told = re.match(rb"(\d+)\nevent: refused\ndata: (.*)\n\n(\r\n)?\Z", last[2])
    assert told is not None, body
    assert 100 <= int(told[1]) <= 300, "RETRY_SECONDS, jittered"
    assert json.loads(told[2])["status"] == 503


def test_a_stream_whose_token_expires_is_told_so(stack: Stack, server: str, user: str) -> None:
    headers = {"Authorization": f"Bearer {stack.token(user, ttl=-28)}"}  # within the leeway
    with asked(server, "/events", headers) as client:
        _, body = answer(client)
    told = re.search(rb"event: refused\ndata: (.*)\n\n(\r\n)?\Z", body)
    assert told is not None, body
    assert json.loads(told[1])["status"] == 401


# How answers end

QUESTION = {"model": "fake", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def ask(stack: Stack, door: str, user: str) -> tuple[bytes, bytes]:
    with asked(door, "/v1/chat/completions", stack.bearer(user), json.dumps(QUESTION).encode()) as client:
        return answer(client)


def follow(stack: Stack, door: str, user: str, model: Model) -> tuple[bytes, bytes]:
    """The head and the body of a GET stream."""
    begun = stack.post("/v1/generations", QUESTION, stack.bearer(user)).json()
    conversation = model.asked()
    with asked(door, f"/v1/generations/{begun['id']}/events", stack.bearer(user)) as client:
        until(lambda: connections(stack, f"answer:{begun['id']}") == 1, "it to be connected")
        conversation.say("so it is").done()
        return answer(client)


def test_a_complete_answer_ends_with_the_last_chunk(
    answering: Stack, server_door: str, user: str, model: Model
) -> None:
    model.script = lambda conversation: conversation.send(HEAD).say("so it is").done()
    _, body = ask(answering, server_door, user)
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert b"retry:" not in body
    assert b"event:" not in body
    model.conversations = []
    model.script = lambda conversation: conversation.send(HEAD)
    _, body = follow(answering, server_door, user, model)
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_a_broken_answer_is_told_and_cut(answering: Stack, server_door: str, user: str, model: Model) -> None:
    def script(conversation: Any) -> None:
        conversation.send(HEAD).say("so it")
        conversation.chunk(b'data: {"error": {"message": "no more", "type": "t", "code": "c"}}\n\n')

    model.script = script
    _, body = ask(answering, server_door, user)
    assert b'data: {"error":' in body
    assert not body.endswith(b"0\r\n\r\n")
    assert b"retry:" not in body
    assert b"event:" not in body


@pytest.fixture(params=["gunicorn", "queue"])
def server_door(request: pytest.FixtureRequest, answering: Stack) -> str:
    if request.param == "queue":
        other: str = request.getfixturevalue("other_answering")
        return other
    return answering.app_url


def test_one_who_asked_elsewhere_is_told_when_the_worker_stops(start: Start, user: str, model: Model) -> None:
    """Its answer is made by another worker, and goes on."""
    stack = start(llm_base_url=model.url, workers=2, drain_seconds=0, gunicorn="--graceful-timeout 5")
    model.script = lambda conversation: conversation.send(HEAD).say("so ")
    body = json.dumps(QUESTION).encode()
    headers = stack.bearer(user) | {"Idempotency-Key": "k"}
    with ExitStack() as clients:
        askers = []
        for _ in range(8):
            askers.append(clients.enter_context(asked(stack.app_url, "/v1/chat/completions", headers, body)))
            model.asked()
        os.kill(stack.pids()["gunicorn"][0], signal.SIGTERM)
        taken = [answer(each)[1] for each in askers]
    for body in taken:
        assert b'data: {"error":' in body, "each is told"
        assert not body.endswith(b"0\r\n\r\n")


def test_a_slow_reader_of_an_answer_gets_all_of_it(answering: Stack, user: str, model: Model) -> None:
    """The answer is more than may wait for a stream, whose client could come back. This one reads on from what is
    kept."""
    model.script = lambda conversation: conversation.send(HEAD)
    words = [f"{number} " + "x" * 60_000 for number in range(100)]
    with asked(
        answering.app_url, "/v1/chat/completions", answering.bearer(user), json.dumps(QUESTION).encode()
    ) as slow:
        conversation = model.asked()
        for word in words:
            conversation.chunk(event(word))
        conversation.done()
        url = "/v1/generations?limit=1"
        done = lambda: answering.get(url, answering.bearer(user)).json()["data"][0]["state"] == "completed"  # noqa: E731
        until(done, "the answer to be complete")
        _, body = answer(slow)
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    said = b"".join(re.split(rb"(?:\A|\r\n)[0-9A-Fa-f]+\r\n", body))
    told = [json.loads(data) for data in re.findall(rb"^data: (\{.*\})$", said, re.MULTILINE)]
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in told) == "".join(words)
