"""POST /publish with application/x-ndjson: events line by line, each answered while the body is still open."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import DEADLINE, EventSource, until
from tests.support.stack import Stack

NDJSON = {"Content-Type": "application/x-ndjson"}


class Upload:
    """A request that goes on: a chunk for each piece, and the answer's lines as they come."""

    def __init__(self, base: str, token: dict[str, str], **headers: str) -> None:
        parts = urlsplit(base)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=DEADLINE)
        head = {"Host": parts.netloc, "Transfer-Encoding": "chunked"} | NDJSON | token | headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.socket.sendall(f"POST /publish HTTP/1.1\r\n{lines}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.head = b""
        self._rest = b""

    def send(self, piece: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))

    def say(self, **item: Any) -> None:
        self.send(json.dumps(item).encode() + b"\n")

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    def answer(self) -> Any:
        """The next line of the answer; None at its end."""
        if not self.head:
            while not self.head.endswith(b"\r\n\r\n"):
                self.head += self.file.readline()
        while b"\n" not in self._rest:
            size = int(self.file.readline() or b"0", 16)
            if not size:
                return None
            self._rest += self.file.read(size)
            self.file.readline()
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)


@contextmanager
def upload(base: str, token: dict[str, str], **headers: str) -> Iterator[Upload]:
    made = Upload(base, token, **headers)
    try:
        yield made
    finally:
        made.file.close()
        made.socket.close()


def heard(source: EventSource, user: str) -> list[int]:
    """The numbers that were published to the user alone: everybody hears what other tests publish to all."""
    words = [message.data.split(" ") for message in source.messages]
    return [int(each[1]) for each in words if each[0] == user]


@pytest.mark.every_redis
def test_each_line_is_answered_while_the_body_is_open(stack: Stack, base: str, user: str) -> None:
    with stack.listen(user) as source, upload(base, stack.bearer(publish=["*"])) as sent:
        ids = []
        for number in range(3):
            sent.say(user=user, data=f"{user} {number}")
            ids.append(sent.answer()["id"])
            source.wait_ids(ids[-1])
        assert b" 200 " in sent.head
        assert b"application/x-ndjson" in sent.head
        sent.say(user=user, data=f"{user} 3", key="k")
        first = sent.answer()
        sent.say(user=user, data=f"{user} 3", key="k")
        assert sent.answer() == first | {"duplicate": True}
        sent.end()
        assert sent.answer() is None
        source.wait_ids(first["id"])
        assert heard(source, user) == [0, 1, 2, 3]


def test_lines_come_in_any_pieces(stack: Stack, user: str) -> None:
    with upload(stack.app_url, stack.bearer(publish=["*"])) as sent:
        text = b"".join(json.dumps({"user": user, "data": f"\u00fc{n}"}).encode() + b"\r\n \n" for n in range(3))
        for place in range(0, len(text), 7):
            sent.send(text[place : place + 7])
        sent.send(b'{"user": "%b", "data": "the last has no line end"}' % user.encode())
        sent.end()
        answers = [sent.answer() for _ in range(5)]
        assert answers[-1] is None
        assert len({answer["id"] for answer in answers[:4]}) == 4


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"nonsense", 400), (b'{"user": 3, "data": 1}', 400), (b"[]", 400), (b'{"user": "u", "data": "\xff"}', 400),
        (b'{"user": "u", "user": "u", "data": 1}', 400), (b'{"topic": "not mine", "data": 1}', 400),
        (b'{"topic": "others", "data": 1}', 403), (b'"' + b"x" * 10_000_000 + b'"', 413),
        (b'{"user": "u", "data": "' + b"x" * 70_000 + b'"}', 413),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_bad_line_is_answered_and_the_stream_goes_on(stack: Stack, user: str, line: bytes, status: int) -> None:
    base = stack.app_url if len(line) > 1_000_000 else stack.url
    with upload(base, stack.bearer(publish=["user:*"])) as sent:
        sent.say(user=user, data="before")
        assert "id" in sent.answer()
        sent.send(line + b"\n")
        assert sent.answer()["error"]["status"] == status
        sent.say(user=user, data="after")
        assert "id" in sent.answer()


def test_a_body_that_never_ends_a_line(stack: Stack, user: str) -> None:
    with upload(stack.app_url, stack.bearer(publish=["*"])) as sent:
        for _ in range(40):
            sent.send(b"x" * 65536)
        assert sent.answer()["error"]["status"] == 413
        sent.send(b"\n")
        sent.say(user=user, data="after")
        assert "id" in sent.answer()


def test_many_lines_at_once_with_a_length(stack: Stack, base: str, user: str) -> None:
    items = [{"user": user, "data": number, "key": f"{user}{number}"} for number in range(3000)]
    body = b"".join(json.dumps(item).encode() + b"\n" for item in items)
    headers = stack.bearer(publish=["*"]) | NDJSON
    answers = [httpx.post(f"{base}/publish", content=body, headers=headers, trust_env=False) for _ in range(2)]
    first, again = ([json.loads(line) for line in answer.text.splitlines()] for answer in answers)
    assert len({answer["id"] for answer in first}) == 3000
    assert first == sorted(first, key=lambda answer: tuple(map(int, answer["id"].split(".")[0].split("-"))))
    assert again == [answer | {"duplicate": True} for answer in first]


def test_a_long_file_at_full_speed(stack: Stack, base: str, user: str) -> None:
    """It arrives through nginx, too, which stops sending a request that it cannot send at once if its answer has
    begun."""
    line = json.dumps({"user": user, "data": "x" * 500}).encode() + b"\n"
    headers = stack.bearer(publish=["*"]) | NDJSON
    with httpx.stream("POST", f"{base}/publish", content=line * 20_000, headers=headers, trust_env=False) as answer:
        assert sum("id" in json.loads(each) for each in answer.iter_lines()) == 20_000


def test_several_users_in_a_line(stack: Stack, user: str) -> None:
    users = [user, f"{user}2"]
    with upload(stack.url, stack.bearer(publish=["*"])) as sent:
        sent.say(users=users, data=1)
        assert [each["user"] for each in sent.answer()["results"]] == users


def test_a_token_that_expires_meanwhile(start: Start, user: str) -> None:
    stack = start(workers=1, leeway_seconds=0)
    with upload(stack.url, stack.bearer(publish=["*"], ttl=2)) as sent:
        sent.say(user=user, data=1)
        assert "id" in sent.answer()

        def refused() -> bool:
            sent.say(user=user, data=2)
            return bool(sent.answer().get("error", {}).get("status") == 401)

        until(refused, "the token to expire")


def test_what_is_no_stream_is_refused_before_it_begins(stack: Stack, user: str) -> None:
    line = json.dumps({"user": user, "data": 1}).encode() + b"\n"
    for headers, status in (
        ({}, 401),
        (stack.bearer(publish=["*"]) | {"Idempotency-Key": "k"}, 400),
        (stack.bearer(publish=["*"]) | {"Content-Encoding": "gzip"}, 415),
    ):
        answer = httpx.post(f"{stack.url}/publish", content=line, headers=NDJSON | headers, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_client_that_leaves_in_the_middle_of_a_line(stack: Stack, user: str) -> None:
    with stack.listen(user) as source:
        with upload(stack.app_url, stack.bearer(publish=["*"])) as sent:
            sent.say(user=user, data=f"{user} 1")
            assert "id" in sent.answer()
            sent.send(json.dumps({"user": user, "data": f"{user} 2"}).encode())
        source.wait_ids(stack.publish(user=user, data=f"{user} 3"))
        assert heard(source, user) == [1, 3]


def test_who_left_in_the_middle_sends_all_again_by_key(stack: Stack, base: str, user: str) -> None:
    """An answer that was given is kept, and nothing happens twice."""
    items = [{"user": user, "data": f"{user} {number}", "key": f"{user}.{number}"} for number in range(2000)]
    lines = b"".join(json.dumps(item).encode() + b"\n" for item in items)
    token = stack.bearer(publish=["*"])
    with stack.listen(user) as source:
        with upload(base, token) as sent:
            for place in range(0, len(lines) // 2, 5000):
                sent.send(lines[place : place + 5000])
            answered = [sent.answer()["id"] for _ in range(300)]
        again = httpx.post(f"{base}/publish", content=lines, headers=token | NDJSON, trust_env=False)
        results = [json.loads(line) for line in again.text.splitlines()]
        assert [result["id"] for result in results[:300]] == answered
        assert all(result["duplicate"] for result in results[:300])
        source.wait_ids(results[-1]["id"])
        assert heard(source, user) == list(range(2000))


def test_redis_dies_and_comes_back(start: Start, user: str) -> None:
    stack = start(workers=1)
    with upload(stack.url, stack.bearer(publish=["*"])) as sent:
        sent.say(user=user, data="before", key="a")
        assert "id" in sent.answer()
        stack.kill("valkey")
        numbers = iter(range(1000))

        def taken() -> bool:
            sent.say(user=user, data="again", key=f"b{next(numbers)}")
            return "id" in sent.answer()

        until(taken, "Redis to be back")


def test_a_worker_that_stops_ends_the_stream_between_two_lines(start: Start, user: str) -> None:
    stack = start(workers=1)
    with upload(stack.app_url, stack.bearer(publish=["*"])) as sent:
        sent.say(user=user, data="before")
        assert "id" in sent.answer()
        stack.process.send_signal(signal.SIGTERM)
        assert sent.answer() is None
