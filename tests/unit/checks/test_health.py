"""A worker's readiness as to partitions that it does not serve."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

import gevent
import gevent.event
import pytest

from pushsvc.checks.health import Health
from pushsvc.storage.redis.topology.coverage import Trouble
from tests.support.clients.eventsource import DEADLINE

LOST = Trouble("a:1", "2 of 3 partitions are lost: the cluster's node a:1 (slots 0-9) is down.")
ALONE = Trouble("a:1", "The cluster's node a:1 answers others, and not this worker.", lost=False)


class ManagedProcess:
    def __init__(self) -> None:
        self.lost = False
        self.why: str | None = None
        self.said: dict[str, str] = {}

    def unready(self) -> str | None:
        return self.why

    def problems(self) -> Mapping[str, str]:
        return self.said


class Cluster:
    """A cluster whose answers wait until a test gives them."""

    def __init__(self) -> None:
        self.trouble: Trouble | None = None
        self.asked = 0
        self.answers = gevent.event.Event()

    def look(self, partitions: Iterable[int]) -> dict[int, Trouble]:
        self.asked += 1
        self.answers.wait()
        return {} if self.trouble is None else dict.fromkeys(partitions, self.trouble)


def until(condition: Callable[[], object]) -> None:
    with gevent.Timeout(DEADLINE):
        while not condition():
            gevent.sleep(0.01)


@pytest.fixture
def parts() -> list[ManagedProcess]:
    return [ManagedProcess(), ManagedProcess(), ManagedProcess()]


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def health(parts: list[ManagedProcess], cluster: Cluster) -> Iterator[Health]:
    made = Health(parts, cluster)
    assert made.unready() is None
    made.loop.start()
    yield made
    made.loop.stop()


def test_what_is_lost_to_everybody_is_named(
    health: Health, parts: list[ManagedProcess], cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pushsvc.checks.health"):
        parts[0].why = parts[1].why = "gone"
        assert health.unready() is None, "nobody knows yet whether others are better off"
        until(lambda: cluster.asked)
        assert health.unready() is None
        cluster.trouble = LOST
        cluster.answers.set()
        until(health.problems)
        assert (health.unready(), health.problems()) == (None, [LOST.text])
        until(lambda: caplog.messages)
        assert [part.lost for part in parts] == [True, True, False]
        cluster.trouble = None  # the node is back, and not yet served here
        asked = cluster.asked
        until(lambda: cluster.asked > asked)
        assert (health.unready(), health.problems()) == (None, [LOST.text])
        parts[0].why = parts[1].why = None
        assert (health.unready(), health.problems()) == (None, [])
        until(lambda: not any(part.lost for part in parts))
        until(lambda: len(caplog.messages) == 2)
    assert caplog.messages == [LOST.text, f"No more: {LOST.text}"]


def test_what_this_worker_lacks_is_not_ready(health: Health, parts: list[ManagedProcess], cluster: Cluster) -> None:
    cluster.trouble = ALONE
    cluster.answers.set()
    parts[1].why = "gone"
    until(lambda: health.unready() == ALONE.text)
    assert health.problems() == []
    cluster.trouble = None  # its node answers, so it is this worker's own fault
    until(lambda: health.unready() == "gone")
    parts[1].why = None
    assert health.unready() is None


def test_who_serves_nothing_is_not_ready(health: Health, parts: list[ManagedProcess], cluster: Cluster) -> None:
    cluster.trouble = LOST
    cluster.answers.set()
    for part in parts:
        part.why = "gone"
    until(health.problems)
    assert health.unready() == "gone"


def test_who_has_never_served_all_is_not_ready(parts: list[ManagedProcess], cluster: Cluster) -> None:
    parts[2].why = "yet to come"
    starting = Health(parts, cluster)
    assert starting.unready() == "yet to come"


def test_what_is_wrong_with_some_says_so(health: Health, parts: list[ManagedProcess]) -> None:
    parts[0].said = {"evicts": "Publishes are refused."}
    assert health.problems() == ["Publishes are refused. (In 1 of 3 partitions.)"]
    for part in parts:
        part.said = parts[0].said
    assert health.problems() == ["Publishes are refused."]
    assert health.unready() is None
