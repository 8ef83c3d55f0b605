"""The requests that the worker takes for the beginning of a stream."""

from __future__ import annotations

import pytest

from pushsvc.server.begun import opens_stream


@pytest.mark.parametrize(
    "path",
    [
        "/events",
        "/push/events",
        "/%65vents",
        "/event%73",
        "/%76%31/generations/0f3a%2Fevents",
        "/v1/generations/events",
        "/v1/generations/0f3a/events",
        "/push/v1/generations/0f3a/events",
    ],
)
def test_each_stream_is_one_of_the_crowd(path: str) -> None:
    assert opens_stream("GET", path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/publish"),
        ("POST", "/v1/generations"),
        ("GET", "/v1/generations/0f3a"),
        ("GET", "/history"),
        ("GET", "/eventsource.js"),
        ("GET", "/myevents"),
        ("HEAD", "/events"),
        ("", ""),
    ],
)
def test_no_other_request_waits_with_it(method: str, path: str) -> None:
    assert not opens_stream(method, path)
