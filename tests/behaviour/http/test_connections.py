"""The life of connections to a worker, and their end: keep-alive, pipelining, versions, clients that say they are
done."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import orjson
import pytest

from tests.support.clients.wire import Wire, request, wire
from tests.support.stack import Stack, copied

HEALTH = request("GET /healthz")


def publication(stack: Stack, user: str, data: int, *, chunked: bool = False) -> bytes:
    body = orjson.dumps({"user": user, "data": f"{user} {data}"})
    fields = "Content-Type: application/json", f"Authorization: {stack.bearer(publish=['*'])['Authorization']}"
    if not chunked:
        return request("POST /publish", *fields, body=body)
    chunks = (b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:]))
    return request("POST /publish", *fields, "Transfer-Encoding: chunked") + b"".join(chunks) + b"0\r\n\r\n"


def many(stack: Stack, user: str, count: int) -> bytes:
    """Publications with and without a length, and questions in between."""
    asked = [publication(stack, user, number, chunked=number % 3 == 0) + HEALTH for number in range(count // 2)]
    return b"".join(asked)


def heard_in_order(stack: Stack, user: str, client: Wire, count: int) -> None:
    """Check that the requests are answered in the order in which they were sent."""
    ids = []
    for number in range(count):
        answer = client.answer()
        assert answer is not None
        assert answer.status == 200, answer
        if number % 2 == 0:
            ids.append(orjson.loads(answer.body)["id"])
        else:
            assert b"alive" in answer.body
    kept = stack.kept(user)
    assert [event["data"] for event in kept] == [f"{user} {n}" for n in range(len(ids))]
    assert [event["id"] for event in kept] == ids


def test_a_hundred_requests_in_one_piece(stack: Stack, user: str) -> None:
    with wire(stack.app_url) as client:
        client.send(many(stack, user, 100))
        heard_in_order(stack, user, client, 100)
        client.send(HEALTH)
        assert client.answer() is not None


def test_requests_byte_by_byte(stack: Stack, user: str) -> None:
    with wire(stack.app_url) as client:
        said = many(stack, user, 12)
        client.send(*(said[place : place + 1] for place in range(len(said))))
        heard_in_order(stack, user, client, 12)


@pytest.mark.parametrize("seed", range(5))
def test_requests_in_any_pieces(stack: Stack, user: str, seed: int) -> None:
    chance = random.Random(seed)
    said = many(stack, user, 50)
    with wire(stack.app_url) as client:
        while said:
            size = chance.choice((1, 2, 3, 30, 300, 3000))
            client.send(said[:size])
            said = said[size:]
        heard_in_order(stack, user, client, 50)


@pytest.mark.parametrize(
    ("version", "option", "kept"),
    [
        ("1.1", "", True), ("1.1", "keep-alive", True), ("1.1", "close", False), ("1.1", "x, CLOSE", False),
        ("1.0", "", False), ("1.0", "keep-alive", True), ("1.0", "Keep-Alive, x", True), ("1.0", "close", False),
    ],
)  # fmt: skip
def test_who_is_kept(stack: Stack, version: str, option: str, kept: bool) -> None:
    """The answer says so, and it is so."""
    asked = request("GET /healthz", *([f"Connection: {option}"] if option else [])).replace(
        b"HTTP/1.1", f"HTTP/{version}".encode()
    )
    with wire(stack.app_url) as client:
        for _ in range(2 if kept else 1):
            client.send(asked)
            answer = client.answer()
            assert answer is not None
            assert (answer.status, answer.fields["connection"]) == (200, "keep-alive" if kept else "close")
            assert "content-length" in answer.fields
        assert kept or client.closed


def test_what_follows_a_last_request_is_not_served(stack: Stack, user: str) -> None:
    with wire(stack.app_url) as client:
        client.send(request("GET /healthz", "Connection: close"), publication(stack, user, 1))
        assert [each.status for each in client.answers()] == [200]
    stack.publish(user=user, data="after")
    assert [event["data"] for event in stack.kept(user)] == ["after"]


@pytest.mark.parametrize("count", [1, 20])
def test_who_sends_no_more_gets_all_answers(stack: Stack, user: str, count: int) -> None:
    with wire(stack.app_url) as client:
        client.send(many(stack, user, 2 * count))
        client.end()
        heard_in_order(stack, user, client, 2 * count)
        assert client.closed


def test_who_sends_no_more_within_a_request_is_let_go(stack: Stack, user: str) -> None:
    whole = publication(stack, user, 1)
    for size in (1, 20, len(whole) - 30, len(whole) - 1):
        with wire(stack.app_url) as client:
            client.send(whole[:size])
            client.end()
            assert all(answer.is_problem for answer in client.answers())
    stack.publish(user=user, data="after")
    assert [event["data"] for event in stack.kept(user)] == ["after"], "half a request publishes nothing"


@pytest.mark.parametrize("path", ["/healthz", "/", "/nothing", "/history?channel=user:u"])
def test_head_is_get_without_the_body(stack: Stack, path: str) -> None:
    bearer = f"Authorization: {stack.bearer('u')['Authorization']}"
    with wire(stack.app_url) as client:
        client.send(request(f"GET {path}", bearer), request(f"HEAD {path}", bearer), HEALTH)
        got, head, last = client.answer(), client.answer("HEAD"), client.answer()
        assert got is not None
        assert head is not None
        assert last is not None
        assert (head.status, head.fields["content-type"]) == (got.status, got.fields["content-type"])
        assert head.fields.get("content-length") == got.fields.get("content-length")
        assert b"alive" in last.body


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A worker that waits for a head, or a body, for a moment only."""
    folder = copied(tmp_path_factory.mktemp("service"))
    limits = folder / "pushsvc/server/limits.py"
    text = limits.read_text()
    assert "HEAD_SECONDS: Final = 30" in text
    assert "BODY_SECONDS: Final = 30" in text
    limits.write_text(
        text.replace("HEAD_SECONDS: Final = 30", "HEAD_SECONDS: Final = 0.5").replace(
            "BODY_SECONDS: Final = 30", "BODY_SECONDS: Final = 0.5"
        )
    )
    running = Stack(tmp_path_factory.mktemp("impatient"), workers=1, folder=folder)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def test_a_head_that_takes_too_long_is_refused(impatient: Stack) -> None:
    """It is refused even if bytes of it come all the time, or if it follows other requests."""
    for before in (b"", HEALTH):
        with wire(impatient.app_url) as client:
            client.send(before)
            assert not before or client.answer() is not None
            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            client.socket.settimeout(0.05)
            while not _has_answer(client):
                client.send(b"X-A: b\r\n")
            client.socket.settimeout(40)
            answer = client.answer()
            assert answer is not None
            assert (answer.status, answer.is_problem, answer.fields["connection"]) == (408, True, "close")
            assert client.closed


def _has_answer(client: Wire) -> bool:
    try:
        return bool(client.socket.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False


@pytest.mark.parametrize("field", ["", "Host: a b\r\n", "Host: a/b\r\n", "Host: b@a\r\n", "Host: a\r\nHost: a\r\n"])
def test_a_request_names_one_host(stack: Stack, field: str) -> None:
    """RFC 9112 section 3.2; in HTTP/1.0 it may name none."""
    for base in (stack.url, stack.app_url):
        with wire(base) as client:
            client.send(f"GET /healthz HTTP/1.1\r\n{field}\r\n".encode())
            [answer] = client.answers()
            assert (answer.status, answer.is_problem) == (400, True)
    with wire(stack.app_url) as client:
        client.send(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert [answer.status for answer in client.answers()] == [200]


@pytest.mark.parametrize("path", ["/publish", "/v1/chat/completions"])
def test_a_body_that_takes_too_long_is_refused(impatient: Stack, path: str) -> None:
    """It is refused even if bytes of it come all the time, unless it comes fast enough or is a stream of events."""
    bearer = f"Authorization: {impatient.bearer('slow', publish=['*'])['Authorization']}"
    json, length = "Content-Type: application/json", "Content-Length: 1000"
    with wire(impatient.app_url) as client:
        client.send(request(f"POST {path}", json, length, bearer))
        client.socket.settimeout(0.05)
        while not _has_answer(client):
            client.send(b" ")
        client.socket.settimeout(40)
        answer = client.answer()
        assert answer is not None
        assert (answer.status, answer.fields["connection"]) == (408, "close")
        assert b"The body comes too slowly." in answer.body
        assert client.closed


def test_a_stream_of_events_may_pause(impatient: Stack, user: str) -> None:
    bearer = f"Authorization: {impatient.bearer('slow', publish=['*'])['Authorization']}"
    line = b'{"user":"%b","data":1}\n' % user.encode()
    chunk = b"%x\r\n%b\r\n" % (len(line), line)
    with wire(impatient.app_url) as client, wire(impatient.app_url) as slow:
        kind = "Content-Type: application/x-ndjson"
        client.send(request("POST /publish", kind, "Transfer-Encoding: chunked", bearer))
        slow.send(request("POST /publish", "Content-Type: application/json", "Content-Length: 9", bearer))
        answer = slow.answer()  # so the time of others is over
        assert answer is not None
        assert answer.status == 408
        client.send(chunk, b"0\r\n\r\n")
        answer = client.answer()
        assert answer is not None
        assert answer.status == 200
        assert b'"id"' in answer.body
