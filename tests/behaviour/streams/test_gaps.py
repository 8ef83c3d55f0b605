"""GET /events where events are gone: which losses are said, and what is none."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import Message, until
from tests.support.stack import Stack


def of(user: str, messages: list[Message]) -> list[Message]:
    """The messages of this test; other tests may publish to all meanwhile."""
    return [message for message in messages if message.data.startswith(user) or message.event == "gap"]


def say(stack: Stack, user: str, *numbers: int) -> list[str]:
    return stack.publish_many([{"user": user, "data": f"{user} {number}"} for number in numbers])


def test_a_trimmed_cursor_is_said_and_an_untrimmed_one_never(start: Start, user: str) -> None:
    stack = start(workers=1, keep_events=10)
    ids = say(stack, user, *range(25))
    for first in range(25):
        with stack.listen(user, headers={"Last-Event-ID": ids[first]}) as source:
            source.wait_ids(ids[-1])  # what is said from now on trims nothing that this one still has to read
            last = say(stack, user, 100 + first)[0]
            ids.append(last)
            source.wait_ids(last)
            oldest = len(ids) - 1 - 10  # what was kept when the listener joined
            gaps = [message for message in source.messages if message.event == "gap"]
            if first + 1 < oldest:
                assert source.messages[0].event == "gap"
                assert json.loads(source.messages[0].data) == {
                    "requested": ids[first],
                    "oldest": ids[oldest],
                    "reason": "trimmed",
                }
                assert len(gaps) == 1
                assert source.ids[1:] == ids[oldest:]
            else:
                assert not gaps
                assert source.ids == ids[first + 1 :]


def test_expired_events_are_said(start: Start, user: str) -> None:
    stack = start(workers=1, keep_seconds=1)
    ids = say(stack, user, 1, 2)

    def empty() -> bool:
        return not stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]

    until(empty, "the events to expire")
    with stack.listen(user, headers={"Last-Event-ID": ids[0]}) as source:
        [gap] = source.wait_for(1)
        assert json.loads(gap.data) == {"requested": ids[0], "oldest": None, "reason": "expired"}
        assert gap.id == ids[1]  # so a reconnect is not told again
    with stack.listen(user, headers={"Last-Event-ID": ids[1]}) as source:
        new = say(stack, user, 3)[0]
        assert source.wait_for(1)[0].id == new, "nothing was lost after the last event, however old it is"


def test_a_cursor_of_another_life_of_the_data_is_a_reset(start: Start, user: str) -> None:
    stack = start(workers=1)
    old = say(stack, user, 1, 2)
    stack.redis.flushall()
    new = say(stack, user, 3)
    future = f"{int(new[0].split('-')[0]) + 10**9}-0"
    for cursor in (old[1], future, "1-1"):
        with stack.listen(user, headers={"Last-Event-ID": cursor}) as source:
            gap, kept = source.wait_for(2)[:2]
            assert json.loads(gap.data) == {"requested": cursor, "oldest": new[0], "reason": "reset"}
            assert kept.id == new[0]
            new.append(say(stack, user, 4)[0])
            source.wait_ids(new[-1])
            assert source.ids[1:] == new
            resumed = source.messages[0].id
        with stack.listen(user, headers={"Last-Event-ID": resumed}) as source:
            assert source.wait_for(len(new))[0].id == new[0], "a reset is said once"


@pytest.mark.every_redis
def test_from_the_beginning_is_no_reset(stack: Stack, user: str) -> None:
    ids = say(stack, user, 1)
    with stack.listen(user, headers={"Last-Event-ID": "0-0"}) as source:
        source.wait_ids(ids[0])
        assert all(message.event != "gap" for message in source.messages)
