"""Which requests the worker takes for the beginning of a stream, by their first bytes."""

from __future__ import annotations

import pytest

from pushsvc.server.heads import opens_stream
from pushsvc.server.keepalive import PEEKED_BYTES


@pytest.mark.parametrize(
    "line",
    [
        b"GET /events HTTP/1.1",
        b"GET /events?topics=a HTTP/1.1",
        b"GET /push/events?topics=a HTTP/1.1",
        b"GET /v1/generations/events HTTP/1.1",
        b"GET /v1/generations/0f3a/events?ticket=x HTTP/1.1",
        b"GET /push/v1/generations/0f3a/events HTTP/1.1",
    ],
)
def test_each_stream_is_one_of_the_crowd(line: bytes) -> None:
    assert opens_stream(line + b"\r\nHost: a\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b"POST /publish HTTP/1.1",
        b"POST /v1/generations HTTP/1.1",
        b"GET /v1/generations/0f3a HTTP/1.1",
        b"GET /history?channel=/events HTTP/1.1",
        b"GET /eventsource.js HTTP/1.1",
        b"HEAD /events HTTP/1.1",
        b"",
    ],
)
def test_no_other_request_waits_with_it(line: bytes) -> None:
    assert not opens_stream(line)


def test_what_is_peeked_at_shows_the_longest_path_of_a_stream() -> None:
    path = b"GET /a/path/of/PUBLIC_URL/v1/generations/" + b"0" * 64 + b"/events?"
    assert opens_stream(path[:PEEKED_BYTES])
