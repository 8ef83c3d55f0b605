"""Bodies of requests, whatever pieces they arrive in, end where the parser in C says they end."""

from __future__ import annotations

from itertools import pairwise

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.server.wire.body import Body, as_input, body_of
from pushsvc.server.wire.connection import Connection
from pushsvc.server.wire.head import Head
from pushsvc.server.wire.unreadable import BrokenBody

CHUNKED = {"transfer-encoding": "chunked"}


class Client:
    """A socket from which the pieces are received, and then the end."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.told = b""

    @property
    def left(self) -> int:
        return sum(map(len, self._pieces))

    def recv(self, most: int) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if len(piece) > most:
            self._pieces.insert(0, piece[most:])
        return piece[:most]

    def send(self, data: bytes) -> int:
        self.told += data
        return len(data)


def incoming(pieces: list[bytes], fields: dict[str, str]) -> tuple[Connection, Body]:
    connection = Connection(Client(pieces), None)
    body = body_of(connection, Head("POST", "/", "HTTP/1.1", fields))
    assert body is not None
    return connection, body


def whole(body: Body) -> bytes:
    read = b""
    while piece := body.receive(1000):
        read += piece
    return read


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(edges)]


class Collected:
    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


def by_parser(wire: bytes) -> bytes | None:
    """The body as httptools reads it. None: it refuses it, or misses the end."""
    collected = Collected()
    parser = httptools.HttpRequestParser(collected)
    try:
        parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    except httptools.HttpParserError:
        return None
    return collected.body if collected.complete else None


PARTS = [
    b"5\r\nhello\r\n", b"A;x=y\r\n0123456789\r\n", b"0\r\n\r\n", b"0\r\nX-A: b\r\n\r\n", b"5", b"\r\n", b"\n", b"\r",
    b"hello", b"0x5\r\nhello\r\n", b" 5\r\n", b"5 \r\nhello\r\n", b"-1\r\n", b";", b"\x00", b"f" * 17 + b"\r\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=6).map(b"".join), st.lists(st.integers(0, 80), max_size=5))
def test_chunks_are_what_the_parser_in_c_says(wire: bytes, places: list[int]) -> None:
    """Ours may refuse more; it never reads another body, or another end."""
    connection, body = incoming(cut(wire, places), CHUNKED)
    try:
        read = whole(body)
    except BrokenBody:
        return
    left = next(size for size in range(len(wire) + 1) if not connection.has(size + 1))
    assert by_parser(wire[: len(wire) - left - connection.client.left]) == read


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.lists(st.integers(0, 300), max_size=6))
def test_good_chunks_are_read_and_what_follows_stays(chunks: list[bytes], places: list[int]) -> None:
    wire = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nX-Trailer: 1\r\n\r\n"
    connection, body = incoming(cut(wire + b"GET / next", places), CHUNKED)
    assert whole(body) == b"".join(chunks) == by_parser(wire)
    assert (body.receive(10), connection.take(1)) == (b"", b"G")


@pytest.mark.parametrize(
    "wire",
    [
        b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello",
        b"1111111111111111111\r\nhello", b"5;a=\x00\r\nhello\r\n0\r\n\r\n", b"5;\n\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nno trailer\r\n\r\n", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n", b"5\r\nhello\r\n", b"5\r\nhel",
        b'5;a="b\r\nhello\r\n0\r\n\r\n', b"5;a =b\r\nhello\r\n0\r\n\r\n", b"5; a=b\r\nhello\r\n0\r\n\r\n",
        b"5;a=b c\r\nhello\r\n0\r\n\r\n", b'5;a="b"c\r\nhello\r\n0\r\n\r\n', b"5;a=\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"a" * 70_000, b"0\r\n" + b"X: y\r\n" * 1000 + b"\r\n", b"0\r\n\n", b"0\r\n\r",
    ],
)  # fmt: skip
def test_broken_chunks_are_refused(wire: bytes) -> None:
    for pieces in ([wire], [wire[place : place + 1] for place in range(min(len(wire), 100))]):
        with pytest.raises(BrokenBody):
            whole(incoming(pieces, CHUNKED)[1])


@given(st.binary(max_size=300), st.integers(1, 200), st.lists(st.integers(0, 300), max_size=4))
def test_a_length_is_a_length(data: bytes, length: int, places: list[int]) -> None:
    connection, body = incoming(cut(data, places), {"content-length": str(length)})
    if len(data) < length:
        with pytest.raises(BrokenBody):
            whole(body)
        return
    assert whole(body) == data[:length]
    assert connection.has(1) == (len(data) > length and connection.has(1))


@pytest.mark.parametrize("size", [0, 5, 70_000])
def test_the_input_of_wsgi_is_a_file(size: int) -> None:
    data = (b"line\n" * (size // 5 + 1))[:size]
    connection = Connection(Client(cut(data, [1, 3, 40_000])), None)
    head = Head("POST", "/", "HTTP/1.1", {"content-length": str(size)})
    file = as_input(connection, body_of(connection, head))
    assert (file.readline(), list(file), file.read()) == (data[:5], data[5:].splitlines(keepends=True), b"")


def test_a_client_that_waits_is_told_to_go_on_when_its_body_is_read() -> None:
    client = Client([b"hello"])
    connection = Connection(client, None)
    body = body_of(connection, Head("POST", "/", "HTTP/1.1", {"content-length": "5", "expect": "100-continue"}))
    assert client.told == b""
    assert body is not None
    assert whole(body) == b"hello"
    assert client.told == b"HTTP/1.1 100 Continue\r\n\r\n"
