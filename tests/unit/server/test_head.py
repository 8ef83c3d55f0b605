"""The head of a request is read strictly: what two servers could read in two ways is refused."""

from __future__ import annotations

import pytest

from pushsvc.server.limits import LONGEST_LINE, MOST_FIELDS
from pushsvc.server.wire.head import Head, read_head
from pushsvc.server.wire.unreadable import (
    HeadTooLarge,
    LineTooLong,
    UnknownCoding,
    UnknownExpectation,
    UnknownVersion,
    Unreadable,
)


def head(line: bytes = b"GET / HTTP/1.1", *fields: bytes) -> Head:
    return read_head(b"\r\n".join([line, b"Host: a", *fields, b"", b""]))


def test_an_ordinary_head() -> None:
    read = head(b"POST /publish?a=b%20c HTTP/1.1", b"Content-Length: 7", b"X-A: one ", b"x-a:two", b"Empty:")
    assert (read.method, read.target, read.path, read.query) == ("POST", "/publish?a=b%20c", "/publish", "a=b%20c")
    assert read.fields == {"host": "a", "content-length": "7", "x-a": "one,two", "empty": ""}
    assert (read.protocol, read.length, read.expects, read.keeps_alive, read.plain) == (
        ("HTTP/1.1", 7, False, True, True)
    )


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        (b"GET /?a?b HTTP/1.1", "/", "a?b"),
        (b"GET /a#b?c HTTP/1.1", "/a", ""),
        (b"GET http://a/p?q HTTP/1.1", "/p", "q"),
        (b"GET HTTP://A?q HTTP/1.1", "/", "q"),
        (b"OPTIONS * HTTP/1.1", "*", ""),
        (b"GET //a//b HTTP/1.1", "//a//b", ""),
        (b"GET /\xc3\xa4?\xc3\xa4 HTTP/1.1", "/%C3%A4", "%C3%A4"),
    ],
)
def test_targets(line: bytes, path: str, query: str) -> None:
    read = head(line)
    assert (read.path, read.query, read.plain) == (path, query, line.split()[1].startswith(b"/"))


def test_an_old_client_may_name_the_host_in_the_target_alone() -> None:
    assert read_head(b"GET http://a/ HTTP/1.0\r\n\r\n").fields == {"host": "a"}


@pytest.mark.parametrize(
    ("fields", "protocol", "keeps"),
    [
        ([], b"HTTP/1.1", True),
        ([], b"HTTP/1.0", False),
        ([b"Connection: close"], b"HTTP/1.1", False),
        ([b"Connection: Keep-Alive"], b"HTTP/1.0", True),
        ([b"Connection: x, Close"], b"HTTP/1.1", False),
        ([b"Connection: keep-alive, close"], b"HTTP/1.0", False),
    ],
)
def test_whether_the_connection_is_kept(fields: list[bytes], protocol: bytes, keeps: bool) -> None:
    assert head(b"GET / " + protocol, *fields).keeps_alive == keeps


def test_an_offered_upgrade_is_not_taken() -> None:
    read = head(b"POST / HTTP/1.1", b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5")
    assert read.length == 5


def test_chunks_have_no_length() -> None:
    assert head(b"POST / HTTP/1.1", b"Transfer-Encoding: Chunked").length is None


def test_names_with_underscores_are_left_out() -> None:
    assert head(b"GET / HTTP/1.1", b"X_Forwarded_For: 10.0.0.1").fields == {"host": "a"}


@pytest.mark.parametrize(
    "fields",
    [
        [b"Content-Length: 3", b"Content-Length: 3"],
        [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 3"],
        [b"Content-Length: +3"],
        [b"Content-Length: 3, 3"],
        [b"Content-Length: 0x3"],
        [b"Content-Length:"],
        [b"Content-Length: 99999999999999999999999"],
        [b"Transfer-Encoding: chunked, chunked"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: \x0bchunked"],
        [b"Host: b"],
        [b"X: a\r\n folded"],
        [b"X: a\nY: b"],
        [b"X: a\rY: b"],
        [b"X : a"],
        [b" X: a"],
        [b"X\x00: a"],
        [b"X: \x00a"],
        [b"X: \x01a"],
        [b"\xe4: a"],
        [b": a"],
        [b"no field"],
    ],
)
def test_ambiguous_fields_are_refused(fields: list[bytes]) -> None:
    with pytest.raises(Unreadable) as refused:
        head(b"POST / HTTP/1.1", *fields)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / a HTTP/1.1", b"GET\t/ HTTP/1.1", b"get / HTTP/1.1",
        b"GET / HTTP/1.1 ", b"GET /\x01 HTTP/1.1", b"GET a HTTP/1.1", b"GET * HTTP/1.1", b"GET / ", b"GET /",
        b"GET / ICE/1.0", b"GET / RTSP/1.0", b"GET ftp://a/ HTTP/1.1", b"GET http:/// HTTP/1.1",
        b"GET http://b/ HTTP/1.1", b"GET http://a@b/ HTTP/1.1", b"GET http://a:80/ HTTP/1.1", b" GET / HTTP/1.1",
        b"GET /\nX: HTTP/1.1",
    ],
)  # fmt: skip
def test_request_lines_that_are_none_are_refused(line: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        head(line)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("line", "fields", "error"),
    [
        (b"GET / HTTP/2.0", [], UnknownVersion),
        (b"GET / HTTP/0.9", [], UnknownVersion),
        (b"PRI * HTTP/2.0", [], UnknownVersion),
        (b"GET /" + b"a" * LONGEST_LINE + b" HTTP/1.1", [], LineTooLong),
        (b"GET / HTTP/1.1", [b"X: " + b"a" * LONGEST_LINE], HeadTooLarge),
        (b"GET / HTTP/1.1", [b"X: a"] * MOST_FIELDS, HeadTooLarge),
        (b"GET / HTTP/1.1", [b"X_Y: a"] * MOST_FIELDS, HeadTooLarge),
        (b"POST / HTTP/1.1", [b"Transfer-Encoding: xchunked"], UnknownCoding),
        (b"POST / HTTP/1.1", [b"Transfer-Encoding: gzip, chunked"], UnknownCoding),
        (b"POST / HTTP/1.1", [b"Transfer-Encoding: identity"], UnknownCoding),
        (b"POST / HTTP/1.0", [b"Transfer-Encoding: chunked"], Unreadable),
        (b"POST / HTTP/1.1", [b"Expect: rain"], UnknownExpectation),
    ],
)
def test_what_each_refusal_is_called(line: bytes, fields: list[bytes], error: type[Unreadable]) -> None:
    with pytest.raises(error):
        head(line, *fields)
