"""The things that a WSGI application may do (PEP 3333), and what the client sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.support.clients.eventsource import until
from tests.support.clients.wire import Answer, Wire, request, wire
from tests.support.inside import wsgi
from tests.support.inside.mounted import with_applications
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = with_applications(tmp_path_factory.mktemp("service"))
    running = Stack(tmp_path_factory.mktemp("tested"), workers=1, folder=folder)
    yield running
    running.stop()


@pytest.fixture
def client(tested: Stack) -> Iterator[Wire]:
    with wire(tested.app_url) as connected:
        yield connected


def ask(client: Wire, path: str, *fields: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> Answer:
    asked = request(f"{method} /tested/{path}", *fields, body=body)
    client.send(asked.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))
    answer = client.answer(method)
    assert answer is not None
    return answer


def noted(client: Wire) -> list[str]:
    """The notes of the applications since this was last asked."""
    found: list[str] = orjson.loads(ask(client, "noted").body)
    return found


def environment(client: Wire, path: str, *fields: str, **more: Any) -> dict[str, Any]:
    answer = ask(client, path, *fields, **more)
    assert answer.status == 200, answer
    values: dict[str, Any] = orjson.loads(answer.body)["values"]
    return values


def test_the_environment(tested: Stack, client: Wire) -> None:
    fields = "X-A: one", "x-a:  two ", "Cookie: a=b; c=d", "Content-Type: text/x; a=b", "X-Empty:", "X-Z: \xe4"
    values = environment(client, "environment?a=%20b&c", *fields, method="POST", body=b"hello")
    host, port = str(tested.settings["app"]).split(":")
    expected = {
        "REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/tested/environment", "QUERY_STRING": "a=%20b&c",
        "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": host, "SERVER_PORT": port, "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": "5", "CONTENT_TYPE": "text/x; a=b", "HTTP_HOST": "x", "HTTP_X_A": "one,two",
        "HTTP_COOKIE": "a=b; c=d", "HTTP_X_EMPTY": "", "HTTP_X_Z": "\xe4", "wsgi.url_scheme": "http",
        "wsgi.version": [1, 0], "wsgi.run_once": False, "RAW_URI": "/tested/environment?a=%20b&c",
    }  # fmt: skip
    assert {name: values.get(name) for name in expected} == expected
    assert "HTTP_CONTENT_LENGTH" not in values
    assert "HTTP_CONTENT_TYPE" not in values
    assert int(values["REMOTE_PORT"]) == client.socket.getsockname()[1]


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("environment", "/tested/environment"), ("%65nvironment", "/tested/environment"),
        ("environment?", "/tested/environment"), ("environment#a", "/tested/environment"),
    ],
)  # fmt: skip
def test_the_path_is_decoded(client: Wire, path: str, meant: str) -> None:
    values = environment(client, path)
    assert (values["PATH_INFO"], values["QUERY_STRING"]) == (meant, "")


def test_absent_fields_are_absent(client: Wire) -> None:
    values = environment(client, "environment")
    assert not {"CONTENT_LENGTH", "CONTENT_TYPE"} & {name for name, value in values.items() if value}
    old = environment(client, "environment", version="1.0")
    assert old["SERVER_PROTOCOL"] == "HTTP/1.0"


def test_a_chunked_body_has_no_length(client: Wire) -> None:
    client.send(request("POST /tested/environment", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n")
    answer = client.answer()
    assert answer is not None
    values = orjson.loads(answer.body)["values"]
    assert not values.get("CONTENT_LENGTH")


# start_response and write


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("twice", 200, b"refused"), ("written", 200, b"one two three"),
        ("closing", 200, b"one two"), ("unknown_length", 200, b"one two"), ("long", 200, b"longer "),
    ],
)  # fmt: skip
def test_what_is_answered(client: Wire, name: str, status: int, body: bytes) -> None:
    """The answer is as it should be, and the connection goes on."""
    for _ in range(2):
        answer = ask(client, name)
        assert (answer.status, answer.body, answer.whole) == (status, body, True)
        assert "x-first" not in answer.fields
        assert answer.fields["connection"] == "keep-alive"
        assert ("content-length" in answer.fields) == (name == "long")


@pytest.mark.parametrize("name", ["replaced_late", "broken", "broken?length"])
def test_what_breaks_after_it_began_is_cut(client: Wire, tested: Stack, name: str) -> None:
    answer = ask(client, name)
    assert (answer.status, answer.body, answer.whole) == (200, b"begun", False)
    assert client.closed
    until(lambda: "a mistake" in tested.output, "the log to tell it")


@pytest.mark.parametrize("name", ["broken_at_once", "never_started", "bad_header", "nothing"])
def test_what_breaks_before_it_began_is_a_problem(client: Wire, name: str) -> None:
    answer = ask(client, name)
    assert (answer.status, answer.is_problem, answer.fields["connection"]) == (500, True, "close")
    assert b"mistake" not in answer.body
    assert b"Injected" not in answer.body
    assert client.closed


def test_an_iterable_is_closed(tested: Stack, client: Wire) -> None:
    """It is closed once, whatever its end."""
    noted(client)
    ask(client, "closing")
    assert noted(client) == ["closed"]
    ask(client, "closing", method="HEAD")
    assert noted(client) == ["closed"]
    for name in ("broken", "broken?length"):
        with wire(tested.app_url) as other:
            ask(other, name)
            assert other.closed
        assert noted(client) == ["closed"]


def test_an_iterable_whose_client_left_is_closed(tested: Stack, client: Wire) -> None:
    noted(client)
    with wire(tested.app_url) as other:
        other.send(request("GET /tested/endless"))
        assert other.socket.recv(12) == b"HTTP/1.1 200"
    until(lambda: noted(client) == ["closed"], "it to be closed")


# Lengths


@pytest.mark.parametrize("name", ["unknown_length", "written", "closing"])
def test_an_old_client_reads_to_the_end_of_the_connection(client: Wire, name: str) -> None:
    answer = ask(client, name, "Connection: keep-alive", version="1.0")
    assert (answer.status, answer.fields["connection"]) == (200, "close")
    assert not {"transfer-encoding", "content-length"} & answer.fields.keys()
    assert answer.body in (b"one two", b"one two three")


@pytest.mark.parametrize("status", ["204", "304"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_where_there_is_no_body(client: Wire, status: str, method: str) -> None:
    for _ in range(2):
        answer = ask(client, f"of_status?{status}", method=method)
        assert answer.status == int(status)
        assert not {"transfer-encoding", "content-length"} & answer.fields.keys()
    assert ask(client, "closing").body == b"one two"


@pytest.mark.parametrize("name", ["closing", "long", "unknown_length", "written", "of_status?200"])
def test_head_has_no_body_whatever_the_application_says(client: Wire, name: str) -> None:
    for _ in range(2):
        assert ask(client, name, method="HEAD").status == 200
    assert ask(client, "closing").body == b"one two"


# Files


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize(
    ("how", "size"), [("", wsgi.SIZE), ("length", wsgi.SIZE), ("part", 1000), ("behind", 10), ("memory", 9)]
)
def test_files(client: Wire, how: str, size: int, version: str) -> None:
    option = ["Connection: keep-alive"] if version == "1.0" else []
    kept = version == "1.1" or how in ("length", "part")
    for _ in range(2 if kept else 1):
        answer = ask(client, f"file?{how}", *option, version=version)
        assert (answer.status, len(answer.body), answer.whole) == (200, size, True)
        assert answer.fields["connection"] == ("keep-alive" if kept else "close")
    assert kept or client.closed


@pytest.mark.parametrize("how", ["", "length", "part", "memory"])
def test_the_head_of_a_file(client: Wire, how: str) -> None:
    assert ask(client, f"file?{how}", method="HEAD").status == 200
    assert ask(client, "closing").body == b"one two"


# Bodies of requests

SENT = b"first\nsecond\n\nlast"
WAYS = {
    "read": ["first\nsecond\n\nlast", "", ""],
    "small": ["fir", "st\n", "sec", "ond", "\n\nl", "ast"],
    "readline": ["first\n", "second\n", "\n", "last"],
    "shortline": ["fir", "st\n", "sec", "ond", "\n", "\n", "las", "t"],
    "iteration": ["first\n", "second\n", "\n", "last"],
    "readlines": ["first\n", "second\n", "\n", "last"],
    "mixed": ["first\n", "seco", "nd\n", "\n", "last"],
    "nothing": [],
}


@pytest.mark.parametrize("framing", ["length", "chunks", "one byte at a time"])
@pytest.mark.parametrize("way", WAYS)
def test_bodies_can_be_read_in_any_way(client: Wire, way: str, framing: str) -> None:
    path = f"POST /tested/body?{way}"
    sent = request(path, body=SENT)
    if framing != "length":
        size = 7 if framing == "chunks" else 1
        parts = [SENT[place : place + size] for place in range(0, len(SENT), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
        sent = request(path, "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n"
    for _ in range(2):
        client.send(*([sent] if framing == "chunks" else (sent[n : n + 1] for n in range(len(sent)))))
        answer = client.answer()
        assert answer is not None
        assert orjson.loads(answer.body) == WAYS[way]


@pytest.mark.parametrize("way", WAYS)
def test_a_request_without_a_body_has_an_empty_one(client: Wire, way: str) -> None:
    assert orjson.loads(ask(client, f"body?{way}").body) == ([] if way != "read" and way != "mixed" else [""] * 3)


@pytest.mark.parametrize("name", ["replaced", "replaced_behind_nothing"])
def test_an_error_replaces_the_headers_that_were_not_sent(client: Wire, name: str) -> None:
    for _ in range(2):
        answer = ask(client, name)
        assert (answer.status, answer.body, answer.whole) == (500, b"replaced", True)
        assert "x-first" not in answer.fields


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_what_is_shorter_than_it_says_is_cut(client: Wire, version: str) -> None:
    """The client would wait for the rest otherwise, and take it from the next answer."""
    answer = ask(client, "short", "Connection: keep-alive", version=version)
    assert (answer.status, answer.body, answer.whole) == (200, b"short", False)
    assert client.closed
