"""SIGTERM, and nobody takes over: not ready first, then no new connections, and an answer to every request."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from pushsvc.server import stopping
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.processes import alive
from tests.support.stack import ROOT, Stack

ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@contextmanager
def connected(stack: Stack) -> Iterator[socket.socket]:
    """A connection to gunicorn."""
    address = str(stack.settings["app"])
    path = address.removeprefix("unix:")
    with socket.socket(socket.AF_INET if path == address else socket.AF_UNIX) as client:
        client.settimeout(30)
        host, _, port = address.rpartition(":")
        client.connect((host, int(port)) if path == address else path)
        yield client


def answer(client: socket.socket) -> bytes:
    """The answer: whole, or as far as it went."""
    taken = b""
    try:
        while piece := client.recv(65536):
            taken += piece
    except ConnectionError as error:
        taken += repr(error).encode()
    return taken


def get(stack: Stack, path: str) -> bytes:
    """The first line of an answer on a new connection; nothing if there is none to be had."""
    try:
        with connected(stack) as client:
            client.sendall(ASK.replace(b"/healthz", path.encode()))
            return answer(client).partition(b"\r\n")[0]
    except (ConnectionError, FileNotFoundError):
        return b""


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_who_looks_at_readyz_is_told_before_anything_is_refused(start: Start, tmp_path: Path, kind: str) -> None:
    stack = start(drain_seconds=1, **({"app": f"unix:{tmp_path}/app.sock"} if kind == "unix" else {}))
    master, *workers = stack.pids()["gunicorn"]
    bearer = stack.bearer(publish=["*"])
    with stack.listen("u") as source:
        os.kill(master, signal.SIGTERM)
        until(lambda: get(stack, "/readyz").startswith(b"HTTP/1.1 503"), "the worker to be not ready")
        served = 0
        while get(stack, "/readyz"):
            assert get(stack, "/healthz") in (b"HTTP/1.1 200 OK", b""), "or the worker has closed its listener"
            served += stack.post("/publish", {"user": "u", "data": "-"}, bearer).status_code == 200
        assert served > 5
        source.wait_for(5)
        source.wait(lambda source: source.closed, "the end of the stream")
    until(lambda: not any(map(alive, workers)), "the end of the workers")
    if kind == "unix":
        until(lambda: not (tmp_path / "app.sock").exists(), "the end of the socket's file")


def test_a_worker_that_stops_answers_all_who_have_reached_it(start: Start) -> None:
    """It answers even clients that it had not accepted yet, and those that send their request only now."""
    stack = start(workers=1, drain_seconds=3)
    worker = stack.pids()["gunicorn"][1]
    with ExitStack() as opened:
        early = [opened.enter_context(connected(stack)) for _ in range(20)]
        half = opened.enter_context(connected(stack))
        half.sendall(ASK[:20])
        source = opened.enter_context(stack.listen("u", base=stack.app_url))
        until(lambda: get(stack, "/readyz") == b"HTTP/1.1 200 OK", "the accept of all before")
        os.kill(worker, signal.SIGTERM)
        until(lambda: get(stack, "/readyz").startswith(b"HTTP/1.1 503"), "the signal")
        os.kill(worker, signal.SIGSTOP)
        late = [opened.enter_context(connected(stack)) for _ in range(50)]
        for client in late:
            client.sendall(ASK)
        os.kill(worker, signal.SIGCONT)
        for client in late:
            assert answer(client).startswith(b"HTTP/1.1 200 OK\r\n")
        source.wait(lambda source: source.closed, "the end of the stream")
        for client in early:
            client.sendall(ASK)
            assert answer(client).startswith(b"HTTP/1.1 200 OK\r\n")
        half.sendall(ASK[20:])
        assert answer(half).startswith(b"HTTP/1.1 200 OK\r\n")


HALF_A_BODY = b"POST /publish HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"


@pytest.mark.parametrize("request_", [b"GET /events HTTP/1.1\r\nHost: x\r\n", HALF_A_BODY], ids=["head", "body"])
def test_a_request_that_does_not_come_to_its_end_gets_an_answer_too(start: Start, request_: bytes) -> None:
    stack = start(workers=1, drain_seconds=0, gunicorn="--graceful-timeout 5")
    if request_.startswith(b"POST"):
        bearer = stack.bearer(publish=["*"])["Authorization"].encode()
        request_ = request_.replace(
            b"Host: x", b"Host: x\r\nContent-Type: application/json\r\nAuthorization: " + bearer
        )
    with connected(stack) as client:
        client.sendall(request_)
        until(lambda: get(stack, "/readyz") == b"HTTP/1.1 200 OK", "it to be read")
        os.kill(stack.pids()["gunicorn"][0], signal.SIGTERM)
        head, _, body = answer(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 1\r\n" in head
        assert b'"status":503' in body
    assert "Traceback" not in stack.output


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_page_whose_request_does_not_come_to_its_end_comes_back(start: Start, version: str) -> None:
    """A page comes back even if it takes the proper end of a response for the end of the stream."""
    stack = start(workers=1, drain_seconds=0, gunicorn="--graceful-timeout 5", allowed_origins="https://a.example")
    with connected(stack) as client:
        client.sendall(f"GET /events HTTP/{version}\r\nHost: x\r\n".encode())
        client.sendall(b"Origin: https://a.example\r\nAccept: text/event-stream\r\n")
        until(lambda: get(stack, "/readyz") == b"HTTP/1.1 200 OK", "it to be read")
        os.kill(stack.pids()["gunicorn"][0], signal.SIGTERM)
        head, _, body = answer(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Type: text/event-stream; charset=utf-8\r\n" in head
    assert b"\r\nAccess-Control-Allow-Origin: https://a.example\r\n" in head
    assert (b"\r\nTransfer-Encoding: chunked" in head) == (version == "1.1")
    assert b"Content-Length" not in head or version == "1.0"
    size, _, body = body.partition(b"\r\n") if version == "1.1" else (b"", b"", body)
    assert not size or body[int(size, 16) :] == b"\r\n", "and no last chunk"
    assert body.startswith(b"retry: ")
    assert b"\nevent: refused\ndata: {" in body


def test_health_is_nothing_that_a_cache_keeps(stack: Stack) -> None:
    for base in (stack.url, stack.app_url):
        for path in ("/healthz", "/readyz"):
            assert httpx.get(f"{base}{path}", trust_env=False).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n", 400),
        (b"GET /" + b"x" * 140_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-More: y\r\n" * 1000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: odd\r\n\r\n", 501),
    ],
)
def test_what_the_worker_cannot_read_gets_a_problem(stack: Stack, head: bytes, status: int) -> None:
    with connected(stack) as client:
        client.sendall(head)
        said = answer(client)
    assert said.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nContent-Type: application/problem+json\r\n" in said


def test_all_who_wait_for_the_end_wait_long_enough() -> None:
    """Gunicorn waits for its workers, `up` for gunicorn, and systemd for both, even while a reload is under way."""
    unit = (ROOT / "systemd" / "pushsvc.service").read_text()
    [told] = [int(line.partition("=")[2]) for line in unit.splitlines() if line.startswith("TimeoutStopSec=")]
    drain = 20  # PUSHSVC_DRAIN_SECONDS unless it is set
    assert drain + stopping.LAME_DUCK_SECONDS + stopping.LAST_SECONDS < stopping.graceful_timeout(drain)
    assert stopping.graceful_timeout(drain) < stopping.patience(drain)
    assert 2 * stopping.graceful_timeout(drain) < told
