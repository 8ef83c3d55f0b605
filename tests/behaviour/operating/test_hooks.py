"""Hooks: a backend hears once that a user came or went, over all workers, whatever happens to them or to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.others.hookreceiver import HOOK_SECRET, HookReceiver
from tests.support.ports import free_port
from tests.support.stack import Stack

Told = tuple[Stack, HookReceiver]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A stack that tells a receiver."""
    receiver = HookReceiver()
    stack = Stack(tmp_path_factory.mktemp("hooks"), workers=2, hook_url=receiver.url, hook_secret=HOOK_SECRET)
    yield stack, receiver
    stack.stop()
    receiver.close()
    assert not receiver.forged


CAME_AND_WENT = ["user.connected", "user.disconnected"]


def _opened(source: EventSource, times: int) -> bool:
    return source.opened >= times


def _has_gone(receiver: HookReceiver, name: str) -> bool:
    return len(receiver.told(name)) == 2


def test_once_for_all_connections(told: Told) -> None:
    stack, receiver = told
    with stack.listen("bob", "?topics=news"), stack.listen("bob"), stack.listen("carl", "?topics=news"):
        until(lambda: receiver.told("bob") and receiver.told("carl") and receiver.told("news"), "the arrivals")
    until(lambda: len(receiver.told("bob")) == len(receiver.told("carl")) == 2, "the departures")
    until(lambda: len(receiver.told("news")) == 2, "the topic to be vacated")
    assert receiver.told("bob") == receiver.told("carl") == CAME_AND_WENT
    assert receiver.told("news") == ["topic.occupied", "topic.vacated"]
    hook = next(hook for hook in receiver.taken if hook["user"] == "bob")
    assert set(hook) == {"id", "type", "user", "topic", "at"}
    assert hook["topic"] is None


def test_a_visit_of_a_moment_is_told_of(told: Told) -> None:
    stack, receiver = told
    for name in ("hal", "ivy", "jan"):
        with stack.listen(name) as source:
            source.wait_open()
    for name in ("hal", "ivy", "jan"):
        until(partial(_has_gone, receiver, name), "the departure")
        assert receiver.told(name) == CAME_AND_WENT


def test_who_comes_back_at_once_was_never_away(told: Told) -> None:
    stack, receiver = told
    with stack.listen("dora", reconnect=True) as source:
        until(lambda: receiver.told("dora"), "the arrival")
        for number in range(2, 5):
            source.cut()
            until(partial(_opened, source, number), "the stream to be open again")
    until(lambda: len(receiver.told("dora")) == 2, "the departure")
    assert receiver.told("dora") == CAME_AND_WENT


def test_workers_that_are_killed(told: Told) -> None:
    stack, receiver = told
    with contextlib.ExitStack() as open_ones:
        stays = open_ones.enter_context(stack.listen("eve", reconnect=True))
        open_ones.enter_context(stack.listen("fay"))  # does not come back
        until(lambda: receiver.told("eve") and receiver.told("fay"), "the arrivals")
        stack.kill("gunicorn", slice(1, None))
        stack.until_ready()
        stays.wait(lambda each: each.opened >= 2, "the stream to be open again")
        until(lambda: len(receiver.told("fay")) == 2, "the departure of who did not come back")
        assert receiver.told("eve") == ["user.connected"]
    until(lambda: len(receiver.told("eve")) == 2, "the other departure")
    assert receiver.told("eve") == receiver.told("fay") == CAME_AND_WENT


REFUSALS: Final[dict[str, tuple[int, dict[str, str], bytes]]] = {
    "error": (500, {}, b"no"),
    "redirect": (302, {"Location": "http://127.0.0.1:9/elsewhere"}, b""),
    "megabytes": (500, {}, b"x" * 10 * 2**20),
}


def test_what_was_not_taken_comes_again(told: Told) -> None:
    stack, receiver = told

    def refuse_once(hook: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        again = sum(each["id"] == hook["id"] for each in receiver.seen) > 1
        return (204, {}, b"") if again else REFUSALS.get(hook["user"], (204, {}, b""))

    receiver.answer = refuse_once
    with contextlib.ExitStack() as open_ones:
        for user in REFUSALS:
            open_ones.enter_context(stack.listen(user))
        until(lambda: all(map(receiver.told, REFUSALS)), "the arrivals to be taken at last")
    until(lambda: all(len(receiver.told(user)) == 2 for user in REFUSALS), "the departures")
    for user in REFUSALS:
        assert receiver.told(user) == CAME_AND_WENT
        first, second = [hook["id"] for hook in receiver.seen if hook["user"] == user][:2]
        assert first == second


def test_a_receiver_that_was_away(start: Start, user: str) -> None:
    port = free_port()
    stack = start(workers=2, hook_url=f"http://127.0.0.1:{port}/hooks", hook_secret=HOOK_SECRET)
    keys = stack.keys_of(user)
    with stack.listen(user):
        until(lambda: stack.redis.zcard(keys.hooks) == 1, "the hook to wait")
    until(lambda: stack.redis.zcard(keys.hooks) == 2, "the other hook to wait")
    receiver = HookReceiver(port)
    try:
        until(lambda: len(receiver.told(user)) == 2, "both to be told, though late", 60)
        assert receiver.told(user) == CAME_AND_WENT
        until(lambda: stack.redis.zcard(keys.hooks) == 0, "nothing to be left")
    finally:
        receiver.close()
