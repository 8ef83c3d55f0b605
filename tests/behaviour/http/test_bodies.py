"""Bodies of requests: those that wait to be asked for, those in chunks, and those that nobody reads."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from tests.conftest import Start
from tests.support.clients.wire import Answer, Wire, request, wire
from tests.support.stack import Stack


@pytest.fixture(params=["nginx", "worker"])
def base(request: pytest.FixtureRequest, stack: Stack) -> str:
    return stack.url if request.param == "nginx" else stack.app_url


def item(user: str, size: int = 1) -> bytes:
    return orjson.dumps({"user": user, "data": "x" * size})


def head(stack: Stack, *fields: str, credentials: bool = True) -> bytes:
    """The head of a publication."""
    bearer = stack.bearer(publish=["*"])["Authorization"]
    more = [f"Authorization: {bearer}"] if credentials else []
    return request("POST /publish", "Content-Type: application/json", *more, *fields)


def told(client: Wire) -> Answer:
    answer = client.answer()
    assert answer is not None
    return answer


def final(client: Wire) -> Answer:
    """The answer, whether or not the client was told to go on."""
    answer = told(client)
    return answer if answer.status >= 200 else told(client)


def is_silent(client: Wire) -> bool:
    """Whether nothing has come by the time that another connection had its answer."""
    host, port = client.socket.getpeername()
    with wire(f"http://{host}:{port}") as other:
        other.send(request("GET /healthz", "Connection: close"))
        assert len(other.answers()) == 1
    client.socket.setblocking(False)
    try:
        client.socket.recv(1, socket.MSG_PEEK)
        return False
    except BlockingIOError:
        return True
    finally:
        client.socket.settimeout(40)


# Expect: 100-continue (RFC 9110 section 10.1.1)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_who_asks_first_is_told_to_go_on(stack: Stack, base: str, user: str, framing: str) -> None:
    body = item(user)
    field = f"Content-Length: {len(body)}" if framing == "length" else "Transfer-Encoding: chunked"
    sent = body if framing == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with wire(base) as client:
        for _ in range(2):
            client.send(head(stack, "Expect: 100-continue", field))
            assert told(client).status == 100
            client.send(sent)
            assert told(client).status == 200


def test_who_is_refused_at_once_is_not_told_to_go_on(stack: Stack, user: str) -> None:
    """Nothing says whether the body comes after all, so the connection ends."""
    fields = "Expect: 100-continue", f"Content-Length: {len(item(user))}"
    with wire(stack.app_url) as client:
        client.send(head(stack, *fields, credentials=False))
        answer = told(client)
        assert (answer.status, answer.is_problem, answer.fields["connection"]) == (401, True, "close")
        assert client.closed


def test_who_does_not_wait_is_served(stack: Stack, base: str, user: str) -> None:
    body = item(user)
    with wire(base) as client:
        client.send(head(stack, "Expect: 100-continue", f"Content-Length: {len(body)}") + body)
        assert final(client).status == 200


def test_an_old_client_is_told_nothing_in_between(stack: Stack, user: str) -> None:
    """HTTP/1.0 has no answers before the answer."""
    body = item(user)
    asked = head(stack, "Expect: 100-continue", f"Content-Length: {len(body)}").replace(b"HTTP/1.1", b"HTTP/1.0")
    with wire(stack.app_url) as client:
        client.send(asked)
        assert is_silent(client)
        client.send(body)
        assert [each.status for each in client.answers()] == [200]


def test_an_expectation_of_no_body_changes_nothing(stack: Stack, base: str) -> None:
    with wire(base) as client:
        client.send(request("GET /healthz", "Expect: 100-continue"))
        assert final(client).status == 200


@pytest.mark.parametrize("value", ["rain", "100-continue, rain", "200-ok", ""])
def test_another_expectation_is_refused(stack: Stack, user: str, value: str) -> None:
    body = item(user)
    with wire(stack.app_url) as client:
        client.send(head(stack, f"Expect: {value}", f"Content-Length: {len(body)}") + body)
        answer = told(client)
        assert (answer.status, answer.is_problem) == (417, True)
        assert client.closed


# Chunks


@pytest.mark.parametrize("size", [1, 7, 1000, 70_000])
@pytest.mark.parametrize("form", ["%x\r\n%b\r\n", "%X;a=b\r\n%b\r\n", "%08x\r\n%b\r\n", '%x;a="b;c";d\r\n%b\r\n'])
def test_chunks_of_any_size(stack: Stack, base: str, user: str, size: int, form: str) -> None:
    body = item(user, min(30_000, size * 300))
    parts = [body[place : place + size] for place in range(0, len(body), size)]
    with wire(base) as client:
        client.send(head(stack, "Transfer-Encoding: chunked"))
        client.send(b"".join(form.encode() % (len(part), part) for part in parts) + b"000\r\nX-Sum: 1\r\n\r\n")
        assert told(client).status == 200
        client.send(request("GET /healthz"))
        assert b"alive" in told(client).body


@pytest.mark.parametrize("tail", [b"", b"5\r\nhe", b"5\r\nhello", b"5\r\nhello\r\n0\r\n", b"5"])
def test_chunks_that_break_off_publish_nothing(stack: Stack, user: str, tail: bytes) -> None:
    body = item(user)
    with wire(stack.app_url) as client:
        client.send(head(stack, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n" % (len(body), body) + tail)
        client.end()
        assert all(answer.is_problem for answer in client.answers())
    stack.publish(user=user, data="after")
    assert [event["data"] for event in stack.kept(user)] == ["after"]


def test_an_extension_without_end_is_no_chunk(stack: Stack) -> None:
    with wire(stack.app_url) as client:
        client.send(head(stack, "Transfer-Encoding: chunked"), b"1;", *[b"a" * 65536] * 200)
        assert all(answer.is_problem for answer in client.answers())


def test_trailers_without_end_are_refused(stack: Stack) -> None:
    with wire(stack.app_url) as client:
        client.send(head(stack, "Transfer-Encoding: chunked"), b"0\r\n", *[b"X-A: b\r\n" * 8192] * 200)
        assert all(answer.is_problem for answer in client.answers())


# Bodies that nobody reads


@pytest.mark.parametrize("size", [1, 1000, 100_000, 900_000])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_small_body_that_nobody_reads_is_no_request(stack: Stack, size: int, framing: str) -> None:
    body = (request("GET /nothing") * (size // 30 + 1))[:size]
    sent = request("POST /healthz", body=body)
    if framing == "chunks":
        sent = request("POST /healthz", "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
    with wire(stack.app_url) as client:
        client.send(sent, request("GET /healthz"))
        assert told(client).status == 405
        assert b"alive" in told(client).body


@pytest.mark.parametrize("size", [3_000_000, 30_000_000])
def test_a_large_body_that_nobody_reads_costs_the_connection_and_not_the_answer(stack: Stack, size: int) -> None:
    with wire(stack.app_url) as client:
        client.send(request("POST /healthz", f"Content-Length: {size}"), *[b"x" * 65536] * (size // 65536))
        answer = told(client)
        assert (answer.status, answer.is_problem) == (405, True)
        assert client.closed


@pytest.mark.parametrize("path", ["/publish", "/healthz"])
def test_a_body_that_is_too_large_is_refused_with_an_answer(stack: Stack, path: str) -> None:
    """The refusal comes before the body is sent."""
    bearer = stack.bearer(publish=["*"])["Authorization"]
    fields = "Content-Type: application/json", f"Authorization: {bearer}", f"Content-Length: {10**15}"
    with wire(stack.app_url) as client:
        client.send(request(f"POST {path}", *fields))
        answer = told(client)
        assert (answer.status, answer.is_problem) == ({"/publish": 413, "/healthz": 405}[path], True)


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_a_body_in_tiny_chunks_gives_others_their_turns(shared: Start, kind: str) -> None:
    """Six bytes each: reading 400 000 of them takes longer than anybody should wait."""
    stack = shared(workers=1)
    bearer = stack.bearer(publish=["*"])["Authorization"]
    fields = f"Content-Type: {kind}", f"Authorization: {bearer}", "Transfer-Encoding: chunked"
    body = request("POST /publish", *fields) + b"1\r\n\n\r\n" * 400_000 + b"0\r\n\r\n"
    with wire(stack.app_url) as client, wire(stack.app_url) as other, ThreadPoolExecutor(1) as thread:
        client.socket.settimeout(60)
        thread.submit(client.send, body)
        answer = thread.submit(client.answer)
        turns = 0
        while not answer.done():
            other.send(request("GET /healthz"))
            assert told(other).status == 200
            turns += 1
    assert turns > 10


def test_requests_that_come_in_one_go_give_others_their_turns(shared: Start) -> None:
    stack = shared(workers=1)
    count = 3000
    with wire(stack.app_url) as client, wire(stack.app_url) as other, ThreadPoolExecutor(2) as threads:
        client.socket.settimeout(60)
        threads.submit(client.send, request("GET /healthz") * count)
        answers = threads.submit(lambda: [client.answer() for _ in range(count)])
        turns = 0
        while not answers.done():
            other.send(request("GET /healthz"))
            assert told(other).status == 200
            turns += 1
        assert {answer.status for answer in answers.result() if answer} == {200}
    assert turns > 10


@pytest.mark.parametrize("broken", [b"zz\r\n", b"-1\r\n", b"\r\n"])
def test_a_stream_of_events_that_begins_with_no_chunk_is_refused(stack: Stack, broken: bytes) -> None:
    """Whoever has sent a request gets the head of an answer."""
    bearer = stack.bearer(publish=["*"])["Authorization"]
    fields = "Content-Type: application/x-ndjson", f"Authorization: {bearer}", "Transfer-Encoding: chunked"
    with wire(stack.app_url) as client:
        client.send(request("POST /publish", *fields) + broken)
        [answer] = client.answers()
        assert (answer.status, answer.is_problem) == (400, True)
