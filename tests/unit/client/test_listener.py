"""A listener's reaction to each thing that a service, or what stands before it, may answer."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path

import pytest

from pushsvc.client import AsyncListener, Event, FileCursor, Gap, GapError, Listener, ListenError, MemoryCursor
from tests.support.clients.scripted import CUT, Say, events, html, problem, scripted

CURSOR = "retry: 1\nevent: cursor\nid: 5-0\ndata:"
MISSED = 'event: gap\nid: 6-0\ndata: {"requested":"1-0","oldest":"7-0","reason":"trimmed"}'
REFUSED = 'retry: 1\nevent: refused\ndata: {"status": 503, "detail": "Draining."}'


def event(number: int) -> str:
    return f"id: {number}-0\ndata: {number}"


def cursors(requests: list[dict[str, dict[str, str]]]) -> list[str | None]:
    return [request["headers"].get("Last-Event-ID") for request in requests]


@pytest.mark.parametrize("between", [CUT, problem(503, Retry_After="0"), html(502), events(REFUSED), events(CURSOR)])
def test_it_comes_back_with_its_cursor_and_gives_each_event_once(between: Say) -> None:
    with (
        scripted(events(CURSOR, event(7)), between, events(CURSOR, event(7), event(8))) as service,
        Listener(service.url, "t") as listener,
    ):
        assert list(islice(listener, 2)) == [Event("7-0", "message", "7"), Event("8-0", "message", "8")]
        first, second, *_ = cursors(service.requests)
    assert (first, second) == (None, "7-0")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (problem(401, "The token has expired."), "The token has expired."),
        (problem(403, "Not this topic."), "Not this topic."),
        (html(200), "is not pushsvc"),
        (events('event: refused\ndata: {"status": 401, "detail": "Cut off."}'), "Cut off."),
    ],
)
def test_what_stays_is_raised(answer: Say, says: str) -> None:
    with scripted(answer) as service, Listener(service.url, "t") as listener, pytest.raises(ListenError, match=says):
        next(listener)


def test_a_fresh_token_that_is_refused_as_well_ends_it() -> None:
    tokens = iter("abcd")
    with scripted(problem(401, "Unknown key.")) as service, Listener(service.url, lambda: next(tokens)) as listener:
        with pytest.raises(ListenError, match="Unknown key"):
            next(listener)
        assert len(service.requests) == 2


def test_with_patience_it_gives_up() -> None:
    with scripted(problem(503, "Full.")) as service:
        listener = Listener(service.url, "t", patience=0.5)
        with pytest.raises(ListenError, match="Full"):
            next(listener)


def test_a_fresh_token_opens_the_next_stream() -> None:
    tokens = iter(["old", "new"])
    ended = events('event: refused\ndata: {"status": 401, "detail": "The token has expired."}')
    with scripted(ended, events(CURSOR, event(7))) as service, Listener(service.url, lambda: next(tokens)) as listener:
        assert next(listener).id == "7-0"
        assert service.requests[1]["headers"]["Authorization"] == "Bearer new"


def test_a_gap_is_raised_once_or_told() -> None:
    with scripted(events(CURSOR, MISSED, event(7))) as service:
        with Listener(service.url, "t", cursor=MemoryCursor("1-0")) as listener:
            with pytest.raises(GapError) as raised:
                next(listener)
            assert (raised.value.gap, next(listener).id) == (Gap("1-0", "7-0", "trimmed"), "7-0")
        told: list[Gap] = []
        with Listener(service.url, "t", on_gap=told.append) as listener:
            assert (next(listener).id, len(told)) == ("7-0", 1)


def test_the_cursor_is_saved_once_the_event_was_handled(tmp_path: Path) -> None:
    cursor = FileCursor(tmp_path / "cursor")
    with scripted(events(CURSOR, event(7), event(8))) as service:
        listener = Listener(service.url, "t", cursor=cursor)
        next(listener)
        assert cursor.load() is None
        next(listener)
        assert FileCursor(tmp_path / "cursor").load() == "7-0"
        with Listener(service.url, "t", cursor=cursor) as again:
            next(again)
        assert cursor.load() == "7-0"
        assert cursors(service.requests) == [None, "7-0"]
        assert list(tmp_path.iterdir()) == [tmp_path / "cursor"]


def test_by_hand_it_is_saved_by_the_acknowledgement() -> None:
    cursor = MemoryCursor()
    with (
        scripted(events(CURSOR, event(7), event(8)), Say(body=b"{}")) as service,
        Listener(service.url, "t", cursor=cursor, ack="manual") as listener,
    ):
        first, _ = next(listener), next(listener)
        assert cursor.load() is None
        listener.ack(first)
        assert cursor.load() == "7-0"
        assert (service.requests[0]["path"], service.requests[1]["body"]) == (
            "/events?since=unread&ack=manual", b'{"id": "7-0"}',
        )  # fmt: skip


def test_a_step_of_a_task_that_is_cancelled_loses_nothing() -> None:
    async def hear() -> list[str]:
        async with AsyncListener(service.url, "t") as listener:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(listener), 0)
            return [(await anext(listener)).id, (await anext(listener)).id]

    with scripted(events(CURSOR, event(7), event(8))) as service:
        assert asyncio.run(hear()) == ["7-0", "8-0"]
