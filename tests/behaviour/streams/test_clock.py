"""GET /demo/clock: the smallest stream there is."""

from __future__ import annotations

from datetime import datetime

import httpx

from tests.support.clients.eventsource import EventSource


def test_the_time_once_a_second(base: str) -> None:
    with EventSource(f"{base}/demo/clock") as clock:
        first, second = clock.wait_for(2)[:2]
        assert (first.id, second.id) == ("1", "2")
        assert (datetime.fromisoformat(second.data) - datetime.fromisoformat(first.data)).total_seconds() > 0
        assert clock.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_it_ends_after_ten(base: str) -> None:
    with EventSource(f"{base}/demo/clock", {"Last-Event-ID": "9"}) as clock:
        clock.wait(lambda each: each.closed, "a clean end")
        assert [(each.id, each.event) for each in clock.messages] == [("10", "message"), ("11", "end")]
    answer = httpx.get(f"{base}/demo/clock", headers={"Last-Event-ID": "11"}, trust_env=False)
    assert (answer.status_code, answer.content) == (204, b"")
