"""GET /presence: who is here, over all workers, also when they come, go and are killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.clients.eventsource import until
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack at which nobody listens but this file's users."""
    running = Stack(tmp_path_factory.mktemp("presence"), workers=3)
    yield running
    running.stop()


def asked(stack: Stack, **params: Any) -> dict[str, Any]:
    answer = stack.get("/presence", stack.bearer("ada", admin=True), **params)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def users(stack: Stack, **params: Any) -> dict[str, int]:
    return {each["user"]: each["connections"] for each in asked(stack, **params)["users"]}


def test_who_is_here(quiet: Stack) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    with contextlib.ExitStack() as open_ones:
        for user, topics in (("bob", "x"), ("bob", "y"), ("carl", "x"), ("dora", "")):
            open_ones.enter_context(quiet.listen(user, f"?topics={topics}"))
        assert users(quiet) == {"bob": 2, "carl": 1, "dora": 1}
        assert users(quiet, topic="x") == {"bob": 1, "carl": 1}
        assert users(quiet, topic="nobody's") == {}
        assert users(quiet, user="bob") == {"bob": 2}
        assert users(quiet, user="eve") == {}
        [bob] = asked(quiet, user="bob")["users"]
        assert began <= datetime.fromisoformat(bob["since"]) <= datetime.now(UTC) + timedelta(seconds=1)
        assert 1 <= len(bob["workers"]) <= 2
    until(lambda: users(quiet) == {}, "all to have left")


def test_in_pages(quiet: Stack) -> None:
    names = [f"page{number}" for number in range(7)]
    with contextlib.ExitStack() as open_ones:
        for name in names:
            open_ones.enter_context(quiet.listen(name))
        found: list[str] = []
        pages, after = 0, ""
        while True:
            page = asked(quiet, limit=3, after=after)
            found += [each["user"] for each in page["users"]]
            pages += 1
            if page["next"] is None:
                break
            after = page["next"]
        assert (found, pages) == (names, 3)
    until(lambda: users(quiet) == {}, "all to have left")


def test_a_long_poll_is_a_connection_too(quiet: Stack) -> None:
    after = quiet.publish(user="fay", data=1)
    params = {"channel": "user:fay", "wait": 25, "after": after}
    with ThreadPoolExecutor(1) as pool:
        polled = pool.submit(quiet.get, "/history", quiet.bearer("fay"), **params)
        until(lambda: users(quiet, user="fay") == {"fay": 1}, "the long poll to be seen")
        assert asked(quiet, user="fay")["users"][0]["since"] is None
        quiet.publish(user="fay", data=2)
        assert len(polled.result().json()["events"]) == 1
    until(lambda: users(quiet) == {}, "the long poll to have ended")


def test_the_killed_are_gone_and_come_back(quiet: Stack) -> None:
    with quiet.listen("gil", reconnect=True) as source:
        before = asked(quiet, user="gil")["users"][0]["workers"]
        quiet.kill("gunicorn", slice(1, None))
        quiet.until_ready()
        source.wait(lambda each: each.opened >= 2, "the stream to be open again")
        [gil] = asked(quiet, user="gil")["users"]
        assert gil["connections"] == 1
        assert not set(gil["workers"]) & set(before)
        until(lambda: "silent" not in asked(quiet), "the killed workers to be forgotten")
    until(lambda: users(quiet) == {}, "all to have left")


def test_who_may_ask_and_how(quiet: Stack) -> None:
    assert httpx.get(f"{quiet.url}/presence", trust_env=False).status_code == 401
    assert quiet.get("/presence", quiet.bearer("bob")).status_code == 403
    admin = quiet.bearer("ada", admin=True)
    for params in ({"user": "a b"}, {"topic": ""}, {"limit": 0}, {"limit": 1001}, {"user": "a", "topic": "b"}):
        answer = quiet.get("/presence", admin, **params)
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), params
