"""The number of partitions that the data of a cluster has: each can say so, whichever node is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from pushsvc.addresses.redis_address import parse
from pushsvc.storage.redis.keys import COUNTED, Keys, slot
from pushsvc.storage.redis.topology.cluster import nodes_of
from pushsvc.storage.redis.topology.layout import Layout, WrongPartitions
from tests.support.redis.servers import Cluster

PARTITIONS = 8


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("cluster"), "--cluster-require-full-coverage", "no", replicas=False)
    yield running
    running.stop()


def agree(cluster: Cluster, keys: Keys) -> None:
    Layout(nodes_of(parse(cluster.url), 0.5), keys).agree()


def test_data_of_before_tells_each_partition_and_each_tells_it(cluster: Cluster) -> None:
    counted = cluster.owner(slot(COUNTED), by=cluster.ports[0])
    cluster.ask(counted, "SET", "pushsvc{0}:partitions", PARTITIONS)  # all that was written once
    for wrong in (1, 4, 5):
        for keys in Keys(0, wrong).all():
            with pytest.raises(WrongPartitions, match=f"^the data there has 8 partitions and not {wrong}$"):
                agree(cluster, keys)
    first, *others = [each for each in Keys(0, PARTITIONS).all() if owner(cluster, each) != counted]
    agree(cluster, first)
    cluster.kill(counted)
    for keys in (first, *others):  # those that do not know it have it from the one that does
        agree(cluster, keys)
    for wrong in (1, 4, 5):
        for keys in Keys(0, wrong).all():
            with pytest.raises(redis.ConnectionError) as caught:
                agree(cluster, keys)
            assert owner(cluster, keys) == counted or isinstance(caught.value, WrongPartitions)
    for keys in (first, *others):
        cluster.ask(owner(cluster, keys), "DEL", keys.own_count)
    with pytest.raises(redis.ConnectionError):  # nobody can tell, and nothing is touched
        agree(cluster, first)
    assert cluster.ask(owner(cluster, first), "GET", first.own_count) is None


def owner(cluster: Cluster, keys: Keys) -> int:
    living = next(port for port in cluster.ports if cluster.runs(port))
    return cluster.owner(slot(keys.tag), by=living)


def test_who_comes_first_says_it(cluster: Cluster) -> None:
    for keys in Keys(0, 3).all():
        agree(cluster, keys)
    for keys in Keys(0, 2).all():
        with pytest.raises(WrongPartitions):
            agree(cluster, keys)
    assert cluster.ask(cluster.owner(slot(COUNTED), by=cluster.ports[0]), "GET", "pushsvc{0}:partitions") == b"3"
