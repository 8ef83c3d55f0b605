"""Request smuggling by HTTP/2: nginx makes requests of HTTP/1.1 of what may hold line ends and lengths of any kind."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson
import pytest

from tests.support.clients.eventsource import EventSource
from tests.support.clients.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RESET,
    SETTINGS,
    frame,
    literal,
)
from tests.support.clients.wire import request
from tests.support.stack import Stack, copied

Fields = dict[bytes, bytes]
GOOD: Final[Fields] = {b":method": b"POST", b":scheme": b"https", b":path": b"/healthz", b":authority": b"x"}


def exchange(address: str, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Send a request of HTTP/2, and wait for the end of its answer, or of the connection."""
    host, port = address.split(":")
    block = b"".join(b"\0" + literal(name) + literal(value) for name, value in fields)
    with socket.create_connection((host, int(port)), timeout=40) as client, client.makefile("rb") as file:
        client.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        client.sendall(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, body))
        while head := file.read(9):
            size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], head[8]
            file.read(size)
            if kind in (RESET, GOAWAY) or (stream == 1 and kind in (DATA, HEADERS) and flags & END_STREAM):
                return


class Attack(NamedTuple):
    """A hidden request, the user who hears it if it is served, and the word that it would publish."""

    user: str
    source: EventSource
    bearer: bytes
    hidden: bytes
    word: str


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack behind an nginx that takes HTTP/2, as that of site.conf does; TLS would change nothing here."""
    folder = copied(tmp_path_factory.mktemp("service"))
    file = folder / "nginx/standalone.conf"
    text = file.read_text()
    assert "listen @LISTEN@;" in text
    file.write_text(text.replace("listen @LISTEN@;", "listen @LISTEN@;\n        http2 on;"))
    running = Stack(tmp_path_factory.mktemp("second"), workers=1, folder=folder)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.fixture
def attack(second: Stack, user: str) -> Iterator[Attack]:
    word = uuid.uuid4().hex
    body = orjson.dumps({"user": user, "data": word})
    bearer = second.bearer(publish=["*"])["Authorization"]
    hidden = request("POST /publish", "Content-Type: application/json", f"Authorization: {bearer}", body=body)
    headers = second.bearer(user)
    with EventSource(f"{second.app_url}/events", headers).wait_open() as source:
        yield Attack(user, source, bearer.encode(), hidden, word)


def is_unheard(stack: Stack, attack: Attack) -> bool:
    answer = stack.post("/publish", {"user": attack.user, "data": "-"}, stack.bearer(publish=["*"]), base=stack.app_url)
    attack.source.wait_ids(answer.json()["id"])
    return attack.word not in attack.source.data


def test_a_good_request_is_heard(second: Stack, attack: Attack) -> None:
    """Without this the tests below would show nothing."""
    body = orjson.dumps({"user": attack.user, "data": attack.word})
    fields = GOOD | {b":path": b"/publish", b"authorization": attack.bearer, b"content-type": b"application/json"}
    exchange(str(second.settings["http"]), list(fields.items()), body)
    assert not is_unheard(second, attack)


CASES: Final[dict[str, tuple[Fields, bytes]]] = {
    "line end in a value": ({b"x-a": b"b\r\nContent-Length: 0\r\n\r\n<S>"}, b"-"),
    "bare LF in a value": ({b"x-a": b"b\nContent-Length: 0\n\n<S>"}, b"-"),
    "line end in a name": ({b"x-a: b\r\ncontent-length: 0\r\n\r\n<S>": b"c"}, b"-"),
    "colon in a name": ({b"content-length: 0\r\nx-a": b"c"}, b"<S>"),
    "NUL in a value": ({b"x-a": b"b\0\r\n\r\n<S>"}, b"-"),
    "line end in the path": ({b":path": b"/healthz HTTP/1.1\r\nHost: x\r\n\r\n<S>"}, b"-"),
    "space in the path": ({b":path": b"/healthz HTTP/1.1"}, b"<S>"),
    "line end in the method": ({b":method": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n<S>"}, b"-"),
    "line end in the authority": ({b":authority": b"x\r\nContent-Length: 0\r\n\r\n<S>"}, b"-"),
    "line end in the scheme": ({b":scheme": b"https\r\n\r\n<S>"}, b"-"),
    "chunked": ({b"transfer-encoding": b"chunked"}, b"0\r\n\r\n<S>"),
    "chunked, with a length": ({b"transfer-encoding": b"chunked", b"content-length": b"5"}, b"0\r\n\r\n<S>"),
    "chunked, in capitals": ({b"Transfer-Encoding": b"chunked"}, b"0\r\n\r\n<S>"),
    "length of nothing": ({b"content-length": b"0"}, b"<S>"),
    "length too small": ({b"content-length": b"1"}, b"-<S>"),
    "length in capitals": ({b"Content-Length": b"0"}, b"<S>"),
    "length that is none": ({b"content-length": b"+0"}, b"<S>"),
    "underscore in the length's name": ({b"content_length": b"0"}, b"<S>"),
    "connection": ({b"connection": b"content-length"}, b"<S>"),
    "upgrade": ({b"connection": b"upgrade", b"upgrade": b"h2c"}, b"<S>"),
    "expectation": ({b"expect": b"100-continue"}, b"<S>"),
    "absolute path": ({b":path": b"http://y/healthz"}, b"<S>"),
    "path of nothing": ({b":path": b""}, b"<S>"),
    "two hosts": ({b"host": b"y"}, b"<S>"),
    "CONNECT": ({b":method": b"CONNECT"}, b"<S>"),
    "GET": ({b":method": b"GET"}, b"<S>"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("path", [b"/healthz", b"/publish"])
def test_there_is_never_a_second_request_in_one(second: Stack, attack: Attack, case: str, path: bytes) -> None:
    changed, body = CASES[case]
    fields = GOOD | {b":path": path} | changed | {b"authorization": attack.bearer, b"content-type": b"application/json"}
    sent = [
        (name.replace(b"<S>", attack.hidden), value.replace(b"<S>", attack.hidden)) for name, value in fields.items()
    ]
    exchange(str(second.settings["http"]), sent, body.replace(b"<S>", attack.hidden))
    assert is_unheard(second, attack)
