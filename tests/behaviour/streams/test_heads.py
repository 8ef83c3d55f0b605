"""The heads of requests: what browsers and proxies send is ordinary, and what is beyond that is told as a problem."""

from __future__ import annotations

import json
import re
import socket
from urllib.parse import quote

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.stack import Stack, connections, spoken

FRIEND = "https://app.example.com"
CROWN = "\N{CROWN}"


@pytest.fixture
def friendly(shared: Start) -> Stack:
    return shared(workers=1, allowed_origins=FRIEND)


@pytest.mark.parametrize("size", [9_000, 12_288, 16_384, 100_000])
def test_large_cookies_are_ordinary(stack: Stack, user: str, size: int) -> None:
    for base in (stack.url, stack.app_url):
        headers = stack.bearer(user) | {"Cookie": f"x={'y' * size}"}
        assert httpx.get(f"{base}/unread", headers=headers, trust_env=False).status_code == 200


def test_a_hundred_header_fields_are_ordinary(stack: Stack, user: str) -> None:
    for base in (stack.url, stack.app_url):
        headers = stack.bearer(user) | {f"X-Field-{number}": "y" * 100 for number in range(100)}
        with EventSource(f"{base}/events", headers).wait_open() as source:
            source.wait_ids(stack.publish(user=user))


@pytest.mark.parametrize("letter", ["a", "\xfc", "\u8a9e", CROWN])
@pytest.mark.parametrize("raw", [False, True], ids=["encoded", "raw"])
def test_a_hundred_topics_of_a_hundred_characters_fit_into_a_url(
    stack: Stack, user: str, letter: str, raw: bool
) -> None:
    topics = [f"{user}.{number}.".ljust(100, letter) for number in range(100)]
    query = ",".join(topics if raw else map(quote, topics)).encode()
    bearer = stack.bearer(user, subscribe=["topic:*"])["Authorization"].encode()
    for number, base in enumerate((stack.url, stack.app_url)):
        host, port = base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=40) as client:
            client.sendall(b"GET /events?since=now&topics=%s HTTP/1.1\r\nHost: x\r\n" % query)
            client.sendall(b"Authorization: %s\r\n\r\n" % bearer)
            assert client.recv(12) == b"HTTP/1.1 200"
            until(lambda: connections(stack, user) == 1, "the stream to count")
            event_id = stack.publish(topic=topics[99 * number], data="-").encode()
            heard = b""
            while event_id not in heard:
                heard += client.recv(65536)
        until(lambda: connections(stack, user) == 0, "the stream to end")


BIG = b"x" * 140_000


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nORIGIN: %s\r\nCookie: %s\r\n\r\n", 431),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nOrigin:%s \r\n" + b"X-More: y\r\n" * 300 + b"\r\n", 431),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nno field\r\n\r\n", 400),
        (b"POST /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nTransfer-Encoding: odd\r\n\r\n", 501),
        (b"POST /v1/models HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nExpect: rain\r\n\r\n", 417),
    ],
)
@pytest.mark.parametrize("path", [b"/v1/models", b"/events"])
def test_what_the_worker_answers_by_itself_can_be_read_by_pages(
    friendly: Stack, request_: bytes, status: int, path: bytes
) -> None:
    request_ = request_.replace(b"/v1/models", path)
    for origin in (FRIEND, "https://evil.example"):
        values = (origin.encode(), BIG)[: request_.count(b"%s")]
        given, headers, body = spoken(friendly.app_url, request_ % values)
        assert given == status
        assert headers.get("access-control-allow-origin") == (origin if origin == FRIEND else None)
        assert headers["vary"] == "Origin"
        if path == b"/events":
            assert headers["content-type"] == "application/problem+json"
            assert json.loads(body)["status"] == status
        else:
            assert headers["content-type"] == "application/json"
            assert json.loads(body)["error"]["type"] in ("invalid_request_error", "server_error")


def test_a_head_without_end_is_refused_before_it_costs_much(stack: Stack) -> None:
    """Many fields, each as long as one may be."""
    field = b"X-More: " + b"y" * 100_000 + b"\r\n"
    status, _, _ = spoken(stack.app_url, b"GET / HTTP/1.1\r\nHost: x\r\n" + field * 7)
    assert status == 431


def test_a_line_that_cannot_be_read_is_not_logged(friendly: Stack) -> None:
    target = b"GET /events?ticket=secret-ticket"
    for line, status in ((target + b" HTTP/9.9", 505), (target + b" no HTTP/1.1", 400)):
        assert spoken(friendly.app_url, line + b"\r\nHost: x\r\n\r\n")[0] == status
    assert not re.search("secret-ticket", friendly.output)


@pytest.mark.parametrize("letter", ["a", "\u8a9e", CROWN])
def test_the_longest_name_fits_into_the_head_of_an_answer(friendly: Stack, user: str, letter: str) -> None:
    """nginx keeps a small buffer for it, and browsers drop a cookie of more than 4096 bytes."""
    name = f"{user}.".ljust(255, letter)
    origin = "https://app.example.com"
    for base in (friendly.url, friendly.app_url):
        given = friendly.post("/tickets", {"user": name, "topics": ["a"]}, friendly.bearer(subscribe=["*"])).json()
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-site"}
        with EventSource(base + given["url"], headers).wait_open() as source:
            cookie = source.headers["set-cookie"]
            assert len(cookie) < 1024
            first = friendly.publish(user=name)
            source.wait_ids(first)
        pair = cookie.partition(";")[0]
        with EventSource(base + given["url"], headers | {"Cookie": pair, "Last-Event-ID": first}).wait_open() as source:
            source.wait_ids(friendly.publish(user=name))
