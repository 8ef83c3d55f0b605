"""Two services on one Redis."""

from __future__ import annotations

from typing import Any

from tests.support.clients.eventsource import EventSource
from tests.support.stack import Stack


def hear_nothing_of_each_other(one: Stack, other: Stack, user: str) -> None:
    """Check that what is published at either is heard there, once and in order, and nowhere else."""
    topics = f"?topics={user}"
    with one.listen(user, topics) as here, other.listen(user, topics) as there:
        targets: list[dict[str, Any]] = [{"user": user}, {"topic": user}, {"all": True}]
        for number, stack in enumerate((one, other, one)):
            stack.publish_many([{"data": f"{user} {number}", **target} for target in targets])
        for source, numbers in ((here, "000222"), (there, "111")):
            said = [message.data.split()[1] for message in _of(user, source, count=len(numbers))]
            assert said == list(numbers)
        assert not {message.event for message in [*here.messages, *there.messages]} & {"gap"}
    for stack, numbers in ((one, "02"), (other, "1")):
        history = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
        assert [event["data"] for event in history] == [f"{user} {number}" for number in numbers]


def _of(user: str, source: EventSource, count: int) -> list[Any]:
    def found() -> list[Any]:
        return [message for message in source.messages if message.data.startswith(f"{user} ")]

    source.wait(lambda _: len(found()) >= count, f"{count} events")
    return found()
