"""Streams of good requests, and what becomes of them when bytes, lines and lengths are changed at random."""

from __future__ import annotations

import random
import re
from typing import Final

import orjson

from tests.support.clients.fuzzing import smuggled
from tests.support.clients.wire import request

_BYTES: Final = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b"\t", b" ", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xff", b":",
    b";", b",", b"=", b'"', b"/", b"?", b"#", b"%", b"%00", b"%0d%0a", b"*", b"+", b"-", b"_", b"0", b"0x", b"{", b"}",
]  # fmt: skip
_LINES: Final = [
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 5, 5", b"Content-Length:", b"Content-Length : 3",
    b"Content-Length: 99999999999999999999", b"Content_Length: 1", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: identity", b"TE: trailers", b"Trailer: Content-Length", b"Expect: 100-continue",
    b"Connection: close", b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: h2c", b"Upgrade: websocket",
    b"Connection: content-length", b"Host: y", b"Host:", b" folded", b"\tContent-Length: 7", b"X-A: " + b"y" * 9000,
    b"Content-Encoding: gzip", b"Content-Type: application/x-ndjson", b"Content-Type: application/json",
    b"X-Forwarded-For: 10.0.0.1", b"Accept: text/event-stream", b"Accept-Encoding: gzip", b"Last-Event-ID: 5-5", b"0",
    b"GET /healthz HTTP/1.1", b"GET /healthz HTTP/1.0", b"GET /healthz", b"PRI * HTTP/2.0", b"5;a=b", b"",
]  # fmt: skip
_VERSION: Final = re.compile(rb"HTTP/\d\.\d")
_NUMBER: Final = re.compile(rb"(?<=[: ])\d+(?=\r\n)|(?<=\r\n)[0-9a-f]+(?=[\r;])")
_NUMBERS: Final = [b"0", b"1", b"-1", b"00", b"0x10", b"7fffffffffffffff", b"ffffffffffffffff", b"10000000000000000"]


class Corpus:
    """Good streams of requests, whose publications all go to the same user."""

    def __init__(self, user: str, bearer: str) -> None:
        """`bearer`: who may publish everything and read as the user."""
        self._user = user
        self._bearer = f"Authorization: {bearer}"
        hidden = self._publication(1)
        cases = [
            case
            for kind in (smuggled.LENGTHS, smuggled.CODINGS, smuggled.CHUNKS)
            for each in kind.values()
            for case in each
        ]
        self.smuggled = [smuggled.filled(case, by, hidden) for case in cases for by in smuggled.carriers(bearer)]
        self.ordinary = self._ordinary()
        self.lines = self._lines()

    def _item(self, number: int) -> dict[str, object]:
        return {"user": self._user, "data": f"\u00e4 {number}"}

    def _post(self, body: bytes, kind: str = "application/json", *fields: str) -> bytes:
        return request("POST /publish", f"Content-Type: {kind}", self._bearer, *fields, body=body)

    def _publication(self, number: int) -> bytes:
        return self._post(orjson.dumps(self._item(number)))

    def _chunked(self, body: bytes, kind: str, size: int) -> bytes:
        parts = [body[place : place + size] for place in range(0, len(body), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        fields = f"Content-Type: {kind}", self._bearer, "Transfer-Encoding: chunked"
        return request("POST /publish", *fields) + chunks + b"0\r\nX-Sum: 1\r\n\r\n"

    def _ordinary(self) -> list[bytes]:
        one, health = self._publication(2), request("GET /healthz")
        batch = self._post(orjson.dumps([self._item(number) for number in range(3)]))
        chunked = self._chunked(orjson.dumps(self._item(3)), "application/json", 9)
        history = request(f"GET /history?channel=user:{self._user}&limit=2", self._bearer)
        asked = orjson.dumps(self._item(4))
        expecting = self._post(asked, "application/json", "Expect: 100-continue")
        stream = request("GET /events?since=now", self._bearer, "Accept: text/event-stream")
        old = one.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: x", b"Connection: keep-alive")
        ticket = request("POST /tickets", "Content-Type: application/json", self._bearer, body=b'{"user": "u"}')
        return [
            one, batch, chunked, history + health, stream, one + stream, chunked + health + one, health * 3 + one * 3,
            expecting, expecting + one, old + one, ticket + one, request("OPTIONS /publish") + one,
            request("POST /healthz", body=one) + one, history + chunked + batch,
        ]  # fmt: skip

    def _lines(self) -> list[bytes]:
        """Streams of events."""
        body = b"".join(orjson.dumps(self._item(number)) + b"\n" for number in range(4))
        kind = "application/x-ndjson"
        sized = [self._post(each, kind) for each in (body, b"\n\n", body + b"[1]\n\xff\n" + body)]
        return [*sized, self._chunked(body, kind, 30), self._chunked(body, kind, 3), sized[0] + self._publication(5)]


def mutate(chance: random.Random, raw: bytes, others: list[bytes]) -> bytes:
    """Change a stream in one to four ways."""
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4))):
        raw = chance.choice(_MUTATIONS)(chance, raw, others)
    return raw


def _insert(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    place = chance.randrange(len(raw) + 1)
    return raw[:place] + chance.choice(_BYTES) * chance.choice((1, 1, 1, 2, 70)) + raw[place:]


def _replace(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    place = chance.randrange(len(raw) + 1)
    return raw[:place] + chance.choice([*_BYTES, bytes([chance.randrange(256)])]) + raw[place + 1 :]


def _cut(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    place = chance.randrange(len(raw) + 1)
    return raw[:place] + raw[place + chance.choice((1, 1, 2, 4, 30)) :]


def _repeat(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    place = chance.randrange(len(raw) + 1)
    return raw[:place] + raw[max(0, place - chance.choice((1, 2, 4, 30))) :]


def _truncate(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    return raw[: chance.randrange(len(raw) + 1)]


def _add_line(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    lines = raw.split(b"\r\n")
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(_LINES))
    return b"\r\n".join(lines)


def _move_line(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    lines = raw.split(b"\r\n")
    line = chance.choice(lines)
    if chance.random() < 0.7:
        lines.remove(line)
    if chance.random() < 0.7:
        lines.insert(chance.randrange(len(lines) + 1), line)
    return b"\r\n".join(lines)


def _change_line_end(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    lines = raw.split(b"\r\n")
    place = chance.randrange(len(lines))
    other = chance.choice((b"\n", b"\r", b"\r\r\n", b"\n\r\n", b" \r\n", b"\r\n ", b"\r\n\t", b"\0\r\n"))
    return b"\r\n".join(lines[:place]) + (other if place else b"") + b"\r\n".join(lines[place:])


def _change_number(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    found = list(_NUMBER.finditer(raw))
    if not found:
        return raw
    one = chance.choice(found)
    near = b"%d" % max(0, int(one[0], 16) + chance.choice((-2, -1, 1, 2, 16)))
    return raw[: one.start()] + chance.choice([near, near, *_NUMBERS]) + raw[one.end() :]


def _change_case(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    lines = raw.split(b"\r\n")
    place = chance.randrange(len(lines))
    lines[place] = chance.choice((lines[place].lower(), lines[place].upper(), lines[place].swapcase()))
    return b"\r\n".join(lines)


def _change_version(chance: random.Random, raw: bytes, _: list[bytes]) -> bytes:
    return _VERSION.sub(chance.choice((b"HTTP/1.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0", b"", b"http/1.1")), raw, 1)


def _splice(chance: random.Random, raw: bytes, others: list[bytes]) -> bytes:
    other = chance.choice(others)
    return raw[: chance.randrange(len(raw) + 1)] + other[chance.randrange(len(other)) :]


_MUTATIONS: Final = (
    _insert, _replace, _cut, _repeat, _truncate, _add_line, _add_line, _move_line, _change_line_end, _change_line_end,
    _change_number, _change_number, _change_case, _change_version, _splice,
)  # fmt: skip
