"""An answer that comes while its request is still being sent, in pieces of any size."""

from __future__ import annotations

import pytest

from pushsvc.client.http.wire import Answer, BadAnswer

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_chunks(size: int) -> None:
    answer = Answer()
    body = b"".join(answer.feed(CHUNKED[at : at + size]) for at in range(0, len(CHUNKED), size))
    assert (answer.status, body, answer.complete) == (200, b"abc0123456789", True)
    assert answer.headers.get_content_type() == "application/x-ndjson"


def test_a_length_and_a_close_end_an_answer() -> None:
    counted, closed = Answer(), Answer()
    assert counted.feed(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nabcd") == b"abc"
    assert counted.complete
    assert closed.feed(b"HTTP/1.0 200 OK\r\n\r\nab") == b"ab"
    assert not closed.complete
    closed.end()
    assert closed.complete


@pytest.mark.parametrize(
    "raw", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"x" * 70_000]
)
def test_what_is_no_http(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        Answer().feed(raw)
