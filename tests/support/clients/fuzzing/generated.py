"""Requests drawn at random, most of them ordinary, in which `@` stands for a name."""

from __future__ import annotations

import json
import random
from typing import Final

EVENTS: Final = [
    {"user": "@", "data": {"id": 7}, "event": "order.paid"},
    {"user": "@", "data": "text", "key": "key-@"},
    {"user": "@", "data": 1.0, "ttl": 60},
    {"topic": "@.news", "data": [1, "\u00e4\U0001f600"]},
    {"all": True, "data": None},
    {"users": ["@", "@.2"], "data": "x"},
    {"users": ["@", "@"], "data": "x"},
    {"users": [], "data": "x"},
    {"user": "@ space", "data": "x"},
    {"user": "@", "topic": "@", "data": "x"},
    {"data": "x"},
    {"user": "@"},
    {"user": 7, "data": "x"},
    {"user": "@", "data": "x", "event": "cursor"},
    {"user": "@", "data": "x", "event": "a\nb"},
    {"user": "@", "data": "x", "ttl": 0},
    {"user": "@", "data": "x", "key": ""},
    {"user": "@", "data": "x", "other": 1},
    {"user": "@", "data": "y" * 70_000},
    {"all": False, "data": 1},
]
BODIES: Final = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"7",
    b'"text"',
    b"{}",
    b'{"user":"@","user":"@","data":1}',
    b"\xef\xbb\xbf{}",
    b'{"user":"@","data":"\xff"}',
    b'{"user":"@","data":"\\ud800"}',
    b'{"user":"@","data":1e400}',
    b'{"user":"@","data":NaN}',
    b'{"user":"@","data":1} x',
    b"[" * 3000,
    b'{"user":"@","data":' + b"[" * 2000 + b"]" * 2000 + b"}",
]
QUERIES: Final = [
    "",
    "?",
    "?since=now",
    "?since=earliest",
    "?since=yesterday",
    "?topics=@.a,@.b",
    "?topics=a%20b",
    "?topics=%C3%A4",
    "?topics=%ff",
    "?topics=a+b",
    "?topic=a",
    "?ack=manual",
    "?ack=x",
    "?heartbeat=event",
    "?last_event_id=1-1",
    "?last_event_id=x",
    "?lastEventId=5-0",
    "?last-event-id=5-0&x=1",
    "?last_event_id=1-1~abc",
    "?ticket=nothing",
    "?ticket=",
    "?ticket=a&ticket=b",
    "?resume=id",
    "?resume=x",
    "?r=0.1&_=2",
    "?topics=a;b&&=&c",
    "?topics=%",
    "?topics=%zz",
    "?tickets=a",
    "?since=now#f",
    "?since=no%77",
    "?topics=" + ",".join(f"t{n}" for n in range(101)),
]
FIELDS: Final = [
    "Last-Event-ID: 1-1",
    "Last-Event-ID: x",
    "Last-Event-ID:",
    "Last-Event-ID: 1-1~proof",
    "Accept: text/event-stream",
    "Accept: */*;q=0.1",
    "Origin: https://app.example.com",
    "Origin: https://evil.example",
    "Origin: null",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-Site: same-origin",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Proto: ftp, https",
    "X-Forwarded-For: 10.1.2.3",
    "Idempotency-Key: once-@",
    "Idempotency-Key: ",
    "Cookie: a=b; pushsvc_token=bad",
    "Cookie: ;;=;a",
    "Content-Encoding: identity",
    "Content-Encoding: gzip",
    "Connection: close",
    "Connection: x",
    "X_Forwarded_Proto: https",
    "Expect: 100-continue",
    "Upgrade: h2c\r\nConnection: Upgrade",
]
PATHS: Final = [
    "GET /v1/generations/none/events",
    "GET /v1/generations/events",
    "GET /v1/generations//events",
    "GET /v1/generations/a/b/events",
    "GET /v1/generations/%61/events",
    "GET /events/",
    "GET /ws",
    "GET //events",
    "GET /Events",
    "GET /%65vents",
    "GET http://x/events",
    "HEAD /events",
    "POST /events",
    "GET /publish",
    "PUT /publish",
    "OPTIONS /publish",
    "POST /publish/",
    "POST /publish?a=%ff",
    "POST /publish?a=b",
    "GET /history",
]
TYPES: Final = ["application/json"] * 6 + [
    "Application/JSON; charset=utf-8",
    "text/plain",
    "",
    "application/json;",
    "application/problem+json",
]


OTHER_CREDENTIALS: Final = ["Authorization: Bearer x", "Authorization: Basic x", "X-None: 1"]


class Generator:
    """Makes requests in which `@` stands for the name of a door."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        claims: list[dict[str, object]] = [
            {"sub": "@", "publish": ["*"], "subscribe": ["*"]},
            {"sub": "@", "publish": ["user:@*"]},
            {"publish": ["*"]},
            {"sub": "@ space"},
            {"sub": "@", "publish": "*"},
            {"sub": "@", "exp": 1},
            {"sub": "@", "nbf": 2**40},
        ]
        self._tokens = [*claims[:1] * 8, *claims]
        self._number = 0

    def request(self) -> bytes:
        """One request."""
        self._number += 1
        draw = self._random
        line = draw.choice(["POST /publish"] * 6 + ["GET /events"] * 4 + [draw.choice(PATHS)])
        if line == "GET /events":
            line += draw.choice(QUERIES)
        fields = draw.sample(FIELDS, draw.choice([0, 0, 0, 1, 1, 2, 4]))
        fields.insert(
            0, draw.choice(["TOKEN"] * 12 + ["Authorization: Bearer x", "Authorization: Basic x", "X-None: 1"])
        )
        body = self._body() if line.startswith(("POST", "PUT")) else b""
        if line.startswith(("POST", "PUT")):
            fields += [f"Content-Type: {draw.choice(TYPES)}", *self._framing(body)]
        if draw.random() < 0.1 and line.startswith("POST"):
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
            fields = [each for each in fields if not each.startswith("Content-Length")] + ["Transfer-Encoding: chunked"]
        return "\r\n".join([f"{line} HTTP/1.1", "Host: x", *fields, "", ""]).encode() + body

    def _framing(self, body: bytes) -> list[str]:
        return [f"Content-Length: {len(body)}"]

    def _body(self) -> bytes:
        draw = self._random
        if draw.random() < 0.2:
            return draw.choice(BODIES)
        if draw.random() < 0.2:
            return json.dumps([draw.choice(EVENTS) for _ in range(draw.choice([1, 2, 5]))]).encode()
        return json.dumps(draw.choice(EVENTS), ensure_ascii=draw.random() < 0.5).encode()

    def claims(self) -> dict[str, object]:
        """The claims of the request's token."""
        return self._random.choice(self._tokens)
