"""Data after the head of GET /events is skipped: a stream that ended at once would be asked for without end."""

from __future__ import annotations

import socket
from typing import Final

import pytest

from tests.support.clients.wire import request, wire
from tests.support.stack import Stack

BODIES: Final = {
    "nothing of nothing": ("Content-Length: 0", b""),
    "blank lines": ("", b"\r\n\r\n"),
    "many blank lines": ("", b"\r\n" * 2000),
    "a short one": ("Content-Length: 5", b"hello"),
    "one of blank lines": ("Content-Length: 4", b"\r\n\r\n"),
    "chunks": ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    "no chunk": ("Transfer-Encoding: chunked", b"0\r\n\r\n"),
    "a long one": ("Content-Length: 500000", b"x" * 500_000),
    "long chunks": ("Transfer-Encoding: chunked", b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("piece", ["in one piece", "later", "byte by byte"])
@pytest.mark.parametrize("body", BODIES)
def test_a_stream_outlives_what_follows_its_request(stack: Stack, base: str, user: str, body: str, piece: str) -> None:
    field, sent = BODIES[body]
    bearer = f"Authorization: {stack.bearer(user)['Authorization']}"
    asked = request("GET /events", bearer, *([field] if field else []))
    with wire(base) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        if piece == "byte by byte":
            client.send(asked, *(sent[place : place + 1] for place in range(min(100, len(sent)))), sent[100:])
        elif piece == "later" and (base != stack.url or not field):  # nginx asks the worker when it has the body
            client.send(asked)
            heard(client.socket, b"event: cursor\n")
            client.send(sent)
        else:
            client.send(asked + sent)
        event = stack.publish(user=user, data="-").encode()
        heard(client.socket, b"id: %b\n" % event)


def heard(client: socket.socket, word: bytes) -> bytes:
    taken = b""
    while word not in taken:
        piece = client.recv(65536)
        assert piece, taken
        taken += piece
    return taken
