"""Rights that the account loses while the service runs, and gets back: what was kept meanwhile is heard, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.redis import accounts
from tests.support.redis.servers import Servers
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[redis.Redis, Stack]]:
    running, port = Servers(tmp_path_factory.mktemp("servers")), free_port()
    running.serve(port)
    operator = redis.Redis(port=port)
    operator.execute_command("ACL", "SETUSER", accounts.USER, "on", *accounts.least(prefix="pushsvc"))
    stack = Stack(
        tmp_path_factory.mktemp("stack"), redis_url=accounts.of_account(f"redis://127.0.0.1:{port}"), workers=1
    )
    yield operator, stack
    stack.stop()
    running.stop()
    assert "Traceback" not in stack.output, stack.output


@contextmanager
def without(operator: redis.Redis, right: str) -> Iterator[None]:
    operator.execute_command("ACL", "SETUSER", accounts.USER, f"-{right}")
    try:
        yield
    finally:
        operator.execute_command("ACL", "SETUSER", accounts.USER, f"+{right}")


@pytest.mark.parametrize("right", ["spublish", "xtrim", "get", "set", "expire"])
def test_a_key_that_is_repeated_is_heard_once(servers: tuple[redis.Redis, Stack], user: str, right: str) -> None:
    """It is heard on channels of several kinds, though the service's clock has gone on and nothing else tells of it."""
    operator, stack = servers
    items: list[dict[str, object]] = [{"user": user}, {"topic": user}, {"all": True}]

    def publish(number: int) -> int:
        item = items[number] | {"data": str(number), "key": user}
        return stack.post("/publish", item, stack.bearer(publish=["*"])).status_code

    with stack.listen(user, f"?since=now&topics={user}", reconnect=True) as source:
        with without(operator, right):
            told = len(stack.output)
            *own, shared = [publish(number) for number in range(3)]
            assert own == [503] * 2
            assert shared == 503 or right == "xtrim"  # a log is cut by age once a second
            if right == "spublish":
                until(lambda: "loop bus canary: Redis refuses" in stack.output[told:], "more of it")
        for number in range(3):
            until(lambda number=number: publish(number) == 200, "the right")  # type: ignore[misc]
        source.wait_for(3)
        stack.publish(user=user, data="after")
        source.wait_for(4)
        assert sorted(source.data) == ["0", "1", "2", "after"]
        assert source.opened == 1


@pytest.mark.parametrize("right", ["spublish", "ssubscribe", "set", "hdel", "smembers", "lpop", "getrange"])
def test_no_worker_is_better_off(servers: tuple[redis.Redis, Stack], right: str, user: str) -> None:
    """All workers lack the right, so none says that it is not ready, and each names what is wrong."""
    operator, stack = servers

    def answer() -> dict[str, object]:
        response = stack.get("/readyz", {})
        assert response.status_code == 200, response.text
        body: dict[str, object] = response.json()
        return body

    until(lambda: not answer().get("problems"), "all rights")
    leaving = EventSource(f"{stack.url}/events", stack.bearer(f"{user}2"))
    leaving.wait_open()
    with without(operator, right), EventSource(f"{stack.url}/events", stack.bearer(user), reconnect=True):
        leaving.close()  # one that begins, and one that ends, use all of these rights
        until(lambda: answer().get("problems"), "the refusal to be named")
    until(lambda: not answer().get("problems"), "the right to be given back")


def test_a_subscription_that_is_refused_is_asked_for_again(servers: tuple[redis.Redis, Stack], user: str) -> None:
    """Its refusal is an answer among others on that connection, and no answer to what was asked after it."""
    operator, stack = servers
    newcomer = f"another{user}"
    with stack.listen(user, "?since=now", reconnect=True) as source:
        with without(operator, "ssubscribe"):
            late = EventSource(f"{stack.url}/events?since=now", stack.bearer(newcomer), reconnect=True)
            until(lambda: "Redis refuses a subscription" in stack.output, "the refusal")
            stack.publish(user=user, data="kept")
        with late:
            source.wait_for(1)
            late.wait_open()
            stack.publish(user=newcomer, data="new")
            assert late.wait_for(1)[0].data == "new"
        assert source.data == ["kept"]
        assert source.opened == 1
