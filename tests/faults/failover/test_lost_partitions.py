"""A cluster that lost a node without a replica: users who live on the others are served, every worker stays ready and
says what is lost, and all goes on by itself when the node is back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from pushsvc.storage.redis.keys import COUNTED, Keys, place, slot
from tests.support.clients.eventsource import EventSource, until
from tests.support.processes import alive
from tests.support.redis.servers import Cluster
from tests.support.stack import Stack

PARTITIONS = 8
DOWN = "The part of Redis's cluster that has this user is down; try again."


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("cluster"), "--cluster-require-full-coverage", "no", replicas=False)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def on_cluster(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("stack"), redis_url=cluster.url, heartbeat_seconds=0.5)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.fixture
def stack(on_cluster: Stack, cluster: Cluster) -> Iterator[Stack]:
    yield on_cluster
    cluster.mend()
    until(lambda: readiness(on_cluster) == (200, {"status": "ready"}), "it to be well again")


def readiness(stack: Stack) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"{stack.app_url}/readyz", trust_env=False)
    return answer.status_code, answer.json()


def named(stack: Stack) -> list[str]:
    """The problems that a worker names; each finds out by itself."""
    found: list[str] = []

    def ask() -> bool:
        found[:] = readiness(stack)[1].get("problems", [])
        return bool(found)

    until(ask, "a problem to be named")
    return found


def node_of(cluster: Cluster, tag: str) -> int:
    return cluster.owner(slot(tag), by=next(port for port in cluster.ports if cluster.runs(port)))


def one_on_each(cluster: Cluster, user: str, lost: int) -> tuple[str, str, int]:
    """A user who lives on another node than the one that is to be lost, a user who lives on that one, and how many
    partitions it has."""
    gone = {number for number, keys in enumerate(Keys(0, PARTITIONS).all()) if node_of(cluster, keys.tag) == lost}
    names = [f"{user}.{number}" for number in range(100)]
    well = next(name for name in names if place(name, PARTITIONS) not in gone)
    return well, next(name for name in names if place(name, PARTITIONS) in gone), len(gone)


@contextmanager
def always_ready(stack: Stack) -> Iterator[None]:
    """Check that the stack is ready all the time, as a balancer sees it."""
    over, red = threading.Event(), list[Any]()

    def look() -> None:
        while not over.wait(0.02):
            with suppress(httpx.TransportError):  # a worker that was killed takes along what it was asked
                answer = readiness(stack)
                red.extend([answer] if answer[0] != 200 else [])

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
    assert not red


def published(stack: Stack, **item: Any) -> httpx.Response:
    return stack.post("/publish", {"data": "-"} | item, stack.bearer(publish=["*"]))


@pytest.mark.parametrize("counted", [True, False], ids=["that counted the partitions", "another"])
def test_the_others_are_served(cluster: Cluster, stack: Stack, user: str, counted: bool) -> None:
    lost = node_of(cluster, COUNTED)
    lost = lost if counted else next(port for port in cluster.ports if port != lost)
    well, gone, count = one_on_each(cluster, user, lost)
    said = len(stack.output)
    with (
        stack.listen(well, f"?topics={user}&since=now", reconnect=True) as hears,
        stack.listen(gone, "?since=now", reconnect=True) as waits,
    ):
        with always_ready(stack):
            cluster.kill(lost)
            [problem] = named(stack)
            assert problem.startswith(f"{count} of 8 partitions are lost: the cluster's node 127.0.0.1:{lost} (slots ")
            refused = published(stack, user=gone)
            assert (refused.status_code, refused.json()["detail"], refused.headers["retry-after"]) == (503, DOWN, "1")
            with EventSource(f"{stack.url}/events", stack.bearer(gone)) as other:
                until(lambda: other.refusals, "the refusal")
                assert other.refusals[0]["detail"] == DOWN
            for path in ("/unread", "/v1/generations"):
                assert stack.get(path, stack.bearer(gone)).status_code == 503
                assert stack.get(path, stack.bearer(well)).status_code == 200
            assert stack.post("/tickets", {"user": gone}, stack.bearer(gone)).status_code == 503
            stack.publish(user=well, data="1")
            some = published(stack, topic=user, data="2", key="k")
            assert (some.status_code, some.json()["detail"][:35]) == (503, "A part of Redis's cluster is down, ")
            hears.wait_for(2)
            stack.kill("gunicorn", slice(1, 2))  # a worker that starts anew serves as the others do
            last = until_published(stack, well)
        until(lambda: stack.output.count(problem, said) >= 3, "the new worker to say it, too")
        cluster.mend()
        until(lambda: readiness(stack) == (200, {"status": "ready"}), "it to be well again")
        completed = published(stack, topic=user, data="2", key="k").json()
        assert not completed["duplicate"]
        stack.publish(user=gone, data="back")
        until(lambda: "back" in waits.data, "what is published after it")
        hears.wait_ids(last)
        assert hears.data == ["1", "2", "-"]
    until(lambda: stack.output.count("No more: ", said) >= 2, "the end to be said")
    lines = [line for line in stack.output[said:].splitlines() if "partitions are lost" in line]
    assert len(lines) == 5, "three workers say that it begins, and the two that are left that it ends"


def test_it_starts_and_reloads_without_them(cluster: Cluster, stack: Stack, user: str) -> None:
    lost = cluster.ports[2]
    well, gone, count = one_on_each(cluster, user, lost)
    cluster.kill(lost)
    stack.stop()
    stack.output = ""
    stack.start()
    assert readiness(stack)[0] == 200
    named(stack)
    assert published(stack, user=well).status_code == 200
    assert published(stack, user=gone).status_code == 503
    old = stack.pids()["gunicorn"][1:]
    with stack.listen(well, "?since=now", reconnect=True) as hears:
        with always_ready(stack):
            os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP)
            until(lambda: not any(map(alive, old)), "the end of the old workers")
            hears.wait_ids(until_published(stack, well))
        assert set(hears.statuses) == {200}
    assert f"{count} of 8 partitions are lost" in stack.output


def until_published(stack: Stack, user: str) -> str:
    """Publish again and again, at whichever worker there is, until it is done. Gives the id."""
    found: list[str] = []

    def try_once() -> bool:
        with suppress(httpx.TransportError):
            answer = published(stack, user=user)
            found.extend([answer.json()["id"]] if answer.status_code == 200 else [])
        return bool(found)

    until(try_once, "a publish")
    return found[0]
