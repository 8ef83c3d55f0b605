"""Redis Cluster: the same behaviour as with a single server, though users live on different nodes; and nothing is lost
while the nodes change their parts."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from pushsvc.checks.start import check_redis
from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.storage.redis.keys import Keys, place, slot
from tests.support import behaviour
from tests.support.clients.eventsource import EventSource, until
from tests.support.clients.traffic import publishing
from tests.support.inside.lives import heard
from tests.support.models.model import Model
from tests.support.redis import accounts, matrix
from tests.support.redis.on_cluster import PARTITIONS, OnCluster
from tests.support.redis.prefixes import hear_nothing_of_each_other
from tests.support.redis.servers import Cluster
from tests.support.stack import Stack

globals().update(behaviour.marked("every_redis"))  # run with the `stack` of this module


@pytest.fixture(scope="module", params=matrix.chosen("Valkey 9"), ids=lambda each: matrix.cell(each, matrix.AS_CLUSTER))
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    account = ("--user", accounts.USER, *accounts.least(cluster=True))
    running = Cluster(tmp_path_factory.mktemp("cluster"), *account, binary=matrix.binary(request.param))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def on_cluster(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, _model: Model) -> Iterator[OnCluster]:
    settings = behaviour.settings(_model) | {"redis_prefix": accounts.PREFIX}
    running = OnCluster(
        cluster, tmp_path_factory.mktemp("stack"), redis_url=accounts.of_account(cluster.url), **settings
    )
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output
    assert "NOPERM" not in running.output, running.output


@pytest.fixture
def stack(on_cluster: OnCluster, user: str) -> OnCluster:
    on_cluster.user = user
    return on_cluster


@pytest.fixture
def users(user: str) -> list[str]:
    """A user in each partition."""
    found: dict[int, str] = {}
    for number in itertools.count():
        name = f"{user}.{number}"
        found.setdefault(place(name, PARTITIONS), name)
        if len(found) == PARTITIONS:
            return [found[partition] for partition in range(PARTITIONS)]
    raise AssertionError


def test_everybody_hears_what_is_for_everybody_wherever_they_live(
    stack: OnCluster, user: str, users: list[str]
) -> None:
    """Users who join while it is published hear it, too, and all resume from their own part of the id."""
    with ExitStack() as listening:
        sources = [listening.enter_context(stack.listen(each, f"?topics={user}")) for each in users]
        items: list[dict[str, Any]] = [{"topic": user, "data": f"{user} topic"}, {"all": True, "data": f"{user} all"}]
        items += [{"user": each, "data": f"{user} own"} for each in users]
        topic, to_all, *own = Stack.publish_many(stack, items)
        for number, (source, its_own) in enumerate(zip(sources, own, strict=True)):
            ids = [topic.split(".")[number], to_all.split(".")[number], its_own]
            source.wait_ids(*ids)
            said = [message for message in source.messages if message.data.startswith(user)]
            assert [message.id for message in said] == ids
            assert [message.data for message in said] == [f"{user} {what}" for what in ("topic", "all", "own")]
        with stack.listen(users[3], f"?topics={user}&last_event_id={topic}") as resumed:
            resumed.wait_ids(own[3])
            assert resumed.ids[0] == to_all.split(".")[3]
        history = stack.get("/history", stack.bearer(users[5]), channel="all", after=to_all).json()
        assert history["events"] == []
        assert stack.post("/ack", {"id": to_all}, stack.bearer(users[5])).status_code == 200


def test_the_seam_of_replay_and_live_in_every_partition(stack: OnCluster, user: str, users: list[str]) -> None:
    with publishing(stack, user, f"{user}.topic") as acked, ExitStack() as listening:
        until(lambda: len(acked) > 20, "some history")
        query = f"?topics={user}.topic&since=earliest"
        sources = [listening.enter_context(stack.listen(each, query)) for each in users]
        count = len(acked)
        until(lambda: len(acked) > count + 20, "traffic")
        for source in sources:
            source.wait(lambda each: len(of(user, each)) > count, "what was there, and more")
            data = of(user, source)
            assert data == [f"{user}.topic{user} {number}" for number in range(len(data))]


def of(user: str, source: EventSource) -> list[str]:
    return [message.data for message in source.messages if message.data.startswith(user) or message.event == "gap"]


def test_a_repetition_completes_what_some_partitions_lack(stack: OnCluster, user: str, users: list[str]) -> None:
    with ExitStack() as listening:
        sources = [listening.enter_context(stack.listen(each, f"?topics={user}")) for each in users]
        event = {"topic": user, "data": f"{user} once", "key": "k"}
        bearer = stack.bearer(publish=["*"])
        first = stack.post("/publish", event, bearer).json()
        again = stack.post("/publish", event, bearer).json()
        assert again == first | {"duplicate": True}
        stack.redis.delete(
            Keys(5, PARTITIONS, accounts.PREFIX).dedupe(f"topic:{user}", "k")
        )  # as if it had not been reached
        completed = stack.post("/publish", event, bearer).json()
        assert not completed["duplicate"]
        for number, source in enumerate(sources):
            old, new = first["id"].split(".")[number], completed["id"].split(".")[number]
            source.wait_ids(new)
            assert of(user, source) == [f"{user} once"] * (2 if number == 5 else 1)
            assert (old == new) == (number != 5)


def test_the_number_of_partitions_is_that_of_the_data(cluster: Cluster, stack: Stack) -> None:
    url = accounts.of_account(cluster.url)
    assert check_redis(url, Settings(partitions=PARTITIONS, redis_prefix=accounts.PREFIX)) == []
    with pytest.raises(ConfigError, match=r"^PUSHSVC_PARTITIONS: the data there has 8 partitions and not 4$"):
        check_redis(url, Settings(partitions=4, redis_prefix=accounts.PREFIX))
    with pytest.raises(ConfigError, match=r"redis\+cluster://"):
        check_redis(f"redis://127.0.0.1:{cluster.ports[0]}", Settings())


def test_two_services_on_one_cluster(cluster: Cluster, stack: OnCluster, users: list[str], tmp_path: Path) -> None:
    """They may have different numbers of partitions. Each name stays in the slot that it has with any prefix."""
    other = OnCluster(cluster, tmp_path, redis_prefix="shop-2.eu", partitions=4, workers=1)
    try:
        for each in users:
            hear_nothing_of_each_other(stack, other, each)
        assert "Traceback" not in other.output, other.output
    finally:
        other.stop()
    names = [name.decode() for name in stack.redis.scan_iter(count=1000, target_nodes="primaries")]
    assert {name.partition("{")[0] for name in names} == {accounts.PREFIX, "shop-2.eu"}


def fail_over(cluster: Cluster, tag: str, number: signal.Signals) -> None:
    """Have the partition's node die or freeze, and its replica take over."""
    master = cluster.owner(slot(tag), by=cluster.ports[0])
    witness = next(port for port in cluster.ports if port != master)
    cluster.signal(master, number)
    until(lambda: cluster.owner(slot(tag), by=witness) != master, "another master")


def take_over(cluster: Cluster, tag: str, *how: str) -> None:
    """Have its replica take over: once it has everything, or at once."""
    master = cluster.owner(slot(tag), by=cluster.ports[0])
    [replica] = [host[1] for host in cluster.ask(master, "ROLE")[2]]
    cluster.ask(int(replica), "CLUSTER", "FAILOVER", *how)
    witness = next(port for port in cluster.masters if port != master)
    until(lambda: cluster.owner(slot(tag), by=witness) == int(replica), "another master")


def move_by_hand(cluster: Cluster, tag: str) -> None:
    """Move the slot key by key, as `redis-cli --cluster reshard` does."""
    masters = cluster.masters
    source = cluster.owner(slot(tag), by=masters[0])
    target = next(port for port in masters if port != source)
    cluster.ask(target, "CLUSTER", "SETSLOT", slot(tag), "IMPORTING", cluster.id_of(source))
    cluster.ask(source, "CLUSTER", "SETSLOT", slot(tag), "MIGRATING", cluster.id_of(target))
    while names := cluster.ask(source, "CLUSTER", "GETKEYSINSLOT", slot(tag), 5):
        cluster.ask(source, "MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *names)
    for port in (target, source, *masters):
        cluster.ask(port, "CLUSTER", "SETSLOT", slot(tag), "NODE", cluster.id_of(target))


def move_at_once(cluster: Cluster, tag: str) -> None:
    source = cluster.owner(slot(tag), by=cluster.masters[0])
    target = next(port for port in cluster.masters if port != source)
    try:
        cluster.ask(
            source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot(tag), slot(tag), "NODE", cluster.id_of(target)
        )
    except redis.ResponseError as error:
        pytest.skip(f"this server cannot: {error}")
    until(lambda: cluster.owner(slot(tag), by=source) == target, "the move")


CHANGES: dict[str, Callable[[Cluster, str], None]] = {
    "moved by hand": move_by_hand,
    "moved at once": move_at_once,
    "killed": lambda cluster, tag: fail_over(cluster, tag, signal.SIGKILL),
    "frozen": lambda cluster, tag: fail_over(cluster, tag, signal.SIGSTOP),
    "failed over": take_over,
    "taken over": lambda cluster, tag: take_over(cluster, tag, "TAKEOVER"),
}


def check(source: EventSource, published: list[str]) -> None:
    """Check that all was heard. What no replica had when its master died may be lost, which is said, or heard again."""
    gaps = [message for message in source.messages if message.event == "gap"]
    data = [message.data for message in source.messages if message.event != "gap"]
    if gaps:
        assert {json.loads(gap.data)["reason"] for gap in gaps} == {"reset"}
        data = list(dict.fromkeys(data))
        published = [each for each in published if each in data]
    assert data == published


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_nothing_is_lost_while_a_partition_gets_another_node(
    cluster: Cluster, stack: OnCluster, user: str, change: Callable[[Cluster, str], None]
) -> None:
    try:
        with (
            stack.listen(user, "?since=now", reconnect=True) as source,
            stack.listen(f"{user}-2", f"?topics={user}.topic&since=now", reconnect=True) as other,
        ):
            with publishing(stack, user) as acked, publishing(stack, user, f"{user}.topic") as to_topic:
                until(lambda: min(len(acked), len(to_topic)) > 50, "traffic")
                change(cluster, stack.keys_of(user).tag)
                counts = len(acked), len(to_topic)
                until(lambda: len(acked) > counts[0] + 50 and len(to_topic) > counts[1] + 50, "traffic by it")
                cluster.mend()  # and the old one says what it still had to say
                counts = len(acked), len(to_topic)
                until(lambda: len(acked) > counts[0] + 20 and len(to_topic) > counts[1] + 20, "more traffic")
            source.wait(lambda each: len(each.messages) >= len(acked), "all that was acknowledged")
            other.wait(lambda each: len(each.messages) >= len(to_topic), "all that was acknowledged")
            check(source, acked)
            check(other, to_topic)
            if change is take_over:
                assert (source.data, other.data) == (acked, to_topic), "such a one loses nothing"
            assert {*source.statuses, *other.statuses} == {200}
        stack.until_ready()
    finally:
        cluster.mend()


def test_a_loss_in_one_partition_is_said_there_alone(stack: OnCluster, users: list[str]) -> None:
    """This test is the last, because whoever comes there without a cursor is told of the loss from then on."""
    flushed, other = users[5], users[2]
    stack.redis.delete(Keys(2, PARTITIONS, accounts.PREFIX).loss)  # what a node lost there that was taken over
    for each in (flushed, other):
        stack.publish(user=each, data="had")
    keys = Keys(5, PARTITIONS, accounts.PREFIX)
    # All at once: what workers write after the first key is gone must not go with the others.
    stack.redis.delete(*stack.redis.scan_iter(match=f"{accounts.PREFIX}{{{keys.tag}}}:*"))
    until(lambda: stack.redis.exists(keys.loss), "the loss to be noted")
    for each, says in ((flushed, ["reset", "new"]), (other, ["had", "new"])):
        stack.publish(user=each, data="new")
        with stack.listen(each, base=stack.app_url) as source:
            source.wait(lambda source: "new" in heard(source), "the new one")
            ours = {"had", "new", "reset", "trimmed", "expired"}  # among what other tests said to all
            assert [said for said in heard(source) if said in ours] == says
