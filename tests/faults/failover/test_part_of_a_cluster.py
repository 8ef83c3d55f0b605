"""A cluster of which a part cannot be had: by nobody, or by this worker alone; and one that may still be read."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from pushsvc.storage.redis.keys import Keys, place, slot
from tests.support.clients.eventsource import EventSource, until
from tests.support.programs import REDIS, need
from tests.support.readiness import published, readiness, until_well
from tests.support.redis.servers import Cluster, Relay
from tests.support.stack import Stack

PARTITIONS = 8
Clusters = Callable[..., Cluster]


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    running: list[Cluster] = []

    def starter(*options: str, binary: str | None = None) -> Cluster:
        running.append(Cluster(tmp_path / "cluster", *options, replicas=False, binary=binary))
        return running[-1]

    yield starter
    for each in running:
        each.stop()


def somebody(cluster: Cluster, user: str, lives: Callable[[int], bool]) -> str:
    """A user for whose node's port `lives` is true."""
    owners = [cluster.owner(slot(keys.tag), by=cluster.ports[0]) for keys in Keys(0, PARTITIONS).all()]
    names = (f"{user}.{number}" for number in range(100))
    return next(name for name in names if lives(owners[place(name, PARTITIONS)]))


@pytest.mark.parametrize(
    "binary", [pytest.param(None, id="Valkey"), pytest.param(REDIS, id="Redis", marks=pytest.mark.long)]
)
def test_a_cluster_that_may_be_read_while_it_is_down(
    clusters: Clusters, tmp_path: Path, user: str, binary: tuple[str, ...] | None
) -> None:
    """Data that can be read is served to users who come back and to those who stay, even by a worker that starts
    anew."""
    options = ("--cluster-require-full-coverage", "yes", "--cluster-allow-reads-when-down", "yes")
    cluster = clusters(*options, binary=binary and need(binary))
    with closing(Started(tmp_path / "stack", redis_url=cluster.url, workers=1, heartbeat_seconds=0.5)) as stack:
        until_well(stack)
        lost = cluster.ports[2]
        well = somebody(cluster, user, lambda port: port != lost)
        published_before = stack.publish_many([{"user": well, "data": data} for data in ("1", "2", "3")])
        with stack.listen(well, "?since=now", reconnect=True) as stays:
            cluster.kill(lost)
            until(lambda: any("takes no writes" in each for each in problems(stack)), "that it is read only")
            assert any("are lost" in each for each in problems(stack))
            resumed = served(stack, well, published_before)
            refused = published(stack, user=well)
            assert refused.status_code == 503
            detail = "Redis's cluster lacks a part, and takes no writes until that is back; try again."
            assert refused.json()["detail"] == detail
            stack.kill("gunicorn", slice(1, 2))
            until(lambda: again(stack), "the next worker")
            with served(stack, well, published_before) as more:
                cluster.mend()
                until_well(stack)
                last = stack.publish(user=well, data="4")
                for each in (stays, resumed, more):
                    each.wait_ids(last)
                assert more.ids == [*published_before[1:], last]
                assert more.statuses == [200]
        resumed.close()


class Started(Stack):
    def close(self) -> None:
        self.stop()


def problems(stack: Stack) -> list[str]:
    status, body = readiness(stack)
    assert status == 200, body
    found: list[str] = body.get("problems", [])
    return found


def again(stack: Stack) -> bool:
    try:
        return readiness(stack)[0] == 200
    except OSError:
        return False


def served(stack: Stack, user: str, ids: list[str]) -> EventSource:
    """A stream that comes back from the first of these, and stays."""
    history = stack.get("/history", stack.bearer(user), channel=f"user:{user}", after=ids[0])
    assert [event["id"] for event in history.json()["events"]] == ids[1:], history.text
    source = stack.listen(user, headers={"Last-Event-ID": ids[0]}, reconnect=True)
    source.wait_ids(*ids[1:])
    source.wait(lambda each: each.parser.comments.count("") >= 3, "it to stay open")
    assert not source.refusals
    return source


def test_a_cluster_that_is_down_as_a_whole(clusters: Clusters, tmp_path: Path, user: str) -> None:
    cluster = clusters()
    with closing(Started(tmp_path / "stack", redis_url=cluster.url, workers=1)) as stack:
        until_well(stack)
        cluster.kill(cluster.ports[2])
        until(lambda: readiness(stack)[0] == 503, "nothing to be served")
        refused = published(stack, user=user)
        assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (503, True)
        cluster.mend()
        until(lambda: readiness(stack)[0] == 200, "something to be served")
        until_well(stack)
        assert published(stack, user=user).status_code == 200


def test_a_node_that_this_worker_alone_does_not_reach(clusters: Clusters, tmp_path: Path, user: str) -> None:
    """Another worker could serve its users better: red. Those of the other nodes are served meanwhile."""
    cluster = clusters("--cluster-require-full-coverage", "no")
    node = cluster.ports[1]
    with closing(Relay(node)) as relay:
        cluster.ask(node, "CONFIG", "SET", "cluster-announce-port", relay.port)
        tag = next(keys.tag for keys in Keys(0, PARTITIONS).all() if 5461 < slot(keys.tag) < 10922)
        until(lambda: cluster.owner(slot(tag), by=cluster.ports[0]) == relay.port, "the others to hear of it")
        with closing(Started(tmp_path / "stack", redis_url=cluster.url, workers=1)) as stack:
            until_well(stack)
            relay.move(0)
            until(lambda: readiness(stack)[0] == 503, "it to be red")
            assert "answers others, and not this worker" in readiness(stack)[1]["detail"]
            assert published(stack, user=somebody(cluster, user, lambda port: port != relay.port)).status_code == 200
            relay.move(node)
            until_well(stack)
            assert published(stack, user=somebody(cluster, user, lambda port: port == relay.port)).status_code == 200


def test_an_account_that_may_ask_for_the_slots_alone(clusters: Clusters, tmp_path: Path, user: str) -> None:
    """The worker is not told that the node has failed. It does not answer, and other workers hardly reach it either."""
    cluster = clusters("--cluster-require-full-coverage", "no")
    for port in cluster.ports:
        rights = ("~*", "&*", "+@all", "-cluster", "+cluster|slots")
        cluster.ask(port, "ACL", "SETUSER", "push", "on", ">word", *rights)
    url = cluster.url.replace("://", "://push:word@")
    with closing(Started(tmp_path / "stack", redis_url=url, workers=1)) as stack:
        until_well(stack)
        lost = cluster.ports[1]
        well = somebody(cluster, user, lambda port: port != lost)
        cluster.signal(lost, signal.SIGSTOP)
        until(lambda: any(f":{lost} " in each for each in problems(stack)), "it to be named")
        assert published(stack, user=well).status_code == 200
        cluster.mend()
        until_well(stack)


def test_a_node_that_takes_no_more_connections(clusters: Clusters, tmp_path: Path) -> None:
    cluster = clusters("--cluster-require-full-coverage", "no")
    node = cluster.ports[1]
    with closing(Started(tmp_path / "stack", redis_url=cluster.url, workers=1)) as stack:
        until_well(stack)
        with closing(redis.Redis(port=node, single_connection_client=True)) as operator:
            operator.config_set("maxclients", 1)
            operator.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            until(lambda: readiness(stack)[0] == 503, "it to be red")
            until(lambda: "maxclients" in readiness(stack)[1]["detail"], "the reason")
            operator.config_set("maxclients", 10000)
        until_well(stack)
