"""Failovers that somebody plans: the workers leave the old master when the sentinels name another, and not when that is
told at last that it is none, ten seconds later."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis

from pushsvc.storage.redis.topology import sentinels
from pushsvc.storage.redis.topology.sentinels import Said, Sentinels
from tests.support.clients.eventsource import EventSource, until
from tests.support.clients.traffic import publishing
from tests.support.redis.pair import Pair
from tests.support.redis.servers import SERVICE, Relay, Replicated
from tests.support.stack import Stack

KEEP = 1_000_000  # no gap is one of trimming


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    running = Replicated(tmp_path_factory.mktemp("servers"))
    yield running
    running.stop()


@pytest.fixture
def replicated(servers: Replicated) -> Replicated:
    """The servers of all tests here, which fail over one time after the other."""
    until(lambda: servers.redis.wait(1, 100) >= 1, "a replica of the last test's master")
    return servers


def up(factory: pytest.TempPathFactory, url: str, **settings: object) -> Stack:
    return Stack(factory.mktemp("stack"), redis_url=url, keep_events=KEEP, **settings)


def workers(port: int) -> int:
    """The number of workers' subscriptions at this server; the sentinels have none to shards."""
    return sum(int(client["ssub"]) > 0 for client in redis.Redis(port=port).client_list(_type="pubsub"))


def is_master(port: int) -> bool:
    return bool(redis.Redis(port=port).role()[0] == b"master")


def gaps(source: EventSource) -> int:
    return sum(message.event == "gap" for message in source.messages)


def all_sentinels(replicated: Replicated) -> str:
    return replicated.url


def one_sentinel(replicated: Replicated) -> str:
    """The address of a single sentinel, not the one that makes the new master."""
    return f"redis+sentinel://127.0.0.1:{replicated.sentinels[1]}/{SERVICE}"


def fail_over_between(replicated: Replicated, *published: list[str]) -> list[int]:
    """Fail over while events are published. Gives how many there were of each when the workers had left the old
    master."""
    until(lambda: len(published[0]) > 50, "traffic")
    old = replicated.fail_over()
    until(lambda: workers(old) == 0, "the workers to leave the old master")
    assert is_master(old), "it does not know yet"
    counts = [len(each) for each in published]
    until(lambda: all(len(each) > count + 50 for each, count in zip(published, counts, strict=True)), "the new")
    return counts


@pytest.mark.parametrize(("url", "wait_replicas"), [(all_sentinels, 0), (all_sentinels, 1), (one_sentinel, 1)])
def test_what_was_acknowledged_is_there_and_nothing_comes_twice(
    replicated: Replicated,
    tmp_path_factory: pytest.TempPathFactory,
    user: str,
    url: Callable[[Replicated], str],
    wait_replicas: int,
) -> None:
    """The sentinels say that they make another master before they do: what is published meanwhile waits for it."""
    stack = up(tmp_path_factory, url(replicated), wait_replicas=wait_replicas)
    away = f"{user}-away"
    try:
        first = stack.publish(user=away, data="first")
        with stack.listen(user, "?since=now", reconnect=True) as source:
            with publishing(stack, user) as acked, publishing(stack, away) as missed:
                fail_over_between(replicated, acked, missed)
            source.wait(lambda each: len(each.messages) >= len(acked), "all that was acknowledged")
            assert source.data == acked
            assert (gaps(source), set(source.statuses)) == (0, {200})
        with stack.listen(away, headers={"Last-Event-ID": first}) as resumed:
            resumed.wait(lambda each: len(each.messages) >= len(missed), "all that was acknowledged")
            assert resumed.data == missed
    finally:
        stack.stop()


def check(source: EventSource, published: list[str], count: int) -> None:
    """Check that what is missing was published before the workers had left, and that this is said."""
    data = [message.data for message in source.messages if message.event != "gap"]
    if gaps(source):  # what was heard and lost may be published again
        data = list(dict.fromkeys(data))
    assert data == [each for each in published if each in data]
    assert set(published) - set(data) <= set(published[:count])
    assert data == published or gaps(source)


def test_what_is_lost_before_the_name_is_known_is_said(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory, user: str
) -> None:
    """An account that may ask for the address alone hears of the failover when it is done."""
    rights = ("-@all", "+auth", "+sentinel|get-master-addr-by-name")
    for port in replicated.sentinels:
        redis.Redis(port=port).execute_command("ACL", "SETUSER", "pushsvc", "on", ">pw", "resetchannels", *rights)
    stack = up(tmp_path_factory, f"{replicated.url}?sentinel_username=pushsvc&sentinel_password=pw")
    away = f"{user}-away"
    try:
        first = stack.publish(user=away, data="first")
        with stack.listen(user, "?since=now", reconnect=True) as source:
            with publishing(stack, user) as acked, publishing(stack, away) as missed:
                counts = fail_over_between(replicated, acked, missed)
            source.wait(lambda each: acked[-1] in each.data, "the last")
            check(source, acked, counts[0])
        with stack.listen(away, headers={"Last-Event-ID": first}) as resumed:
            resumed.wait(lambda each: missed[-1] in each.data, "the last")
            check(resumed, missed, counts[1])
    finally:
        stack.stop()


def test_back_and_forth_with_a_sentinel_frozen_and_workers_reloaded(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory, user: str
) -> None:
    """The frozen one comes first in the address, and when it wakes up names the master from before."""
    frozen = replicated.sentinels[2]
    others = [port for port in replicated.sentinels if port != frozen]
    hosts = ",".join(f"127.0.0.1:{port}" for port in (frozen, *others))
    stack = up(tmp_path_factory, f"redis+sentinel://{hosts}/{SERVICE}")
    try:
        with stack.listen(user, "?since=now", reconnect=True) as source:
            with publishing(stack, user) as acked:
                until(lambda: len(acked) > 50, "traffic")
                replicated.signal(frozen, signal.SIGSTOP)
                try:
                    replicated.fail_over()
                    os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP)
                    replicated.fail_over()
                    count = len(acked)
                    until(lambda: len(acked) > count + 50, "traffic by the third")
                finally:
                    replicated.signal(frozen, signal.SIGCONT)
                count = len(acked)
                until(lambda: len(acked) > count + 50, "more traffic")
            source.wait(lambda each: acked[-1] in each.data, "the last")
            check(source, acked, count)  # the third may lack what the second had for a moment only
            assert set(source.statuses) == {200}
        stack.until_ready()
    finally:
        stack.stop()


def test_a_service_that_the_sentinels_know_no_more(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory, user: str
) -> None:
    """The workers stay where they are, also with a connection that is new, and say so once."""
    stack = up(tmp_path_factory, replicated.url, workers=1)
    master = replicated.master
    silent, again = "no sentinel names the master", f"the sentinels name the master of {SERVICE} again"
    try:
        with stack.listen(user, "?since=now") as source:
            ids = [stack.publish(user=user, data="before")]
            for number in range(3):
                replicated.ask_sentinel("REMOVE", SERVICE, number=number)
            until(lambda: silent in stack.output, "the worker to notice")
            redis.Redis(port=master).execute_command("CLIENT", "KILL", "TYPE", "normal")
            ids.append(stack.publish(user=user, data="meanwhile", key="k"))
            stack.until_ready()
            for number in range(3):
                replicated.ask_sentinel("MONITOR", SERVICE, "127.0.0.1", master, 2, number=number)
            until(lambda: again in stack.output, "the worker to notice")
            ids.append(stack.publish(user=user, data="after"))
            source.wait_ids(*ids)
            assert source.ids == ids
        assert (stack.output.count(silent), stack.output.count(again)) == (1, 1)
        assert f"it stays 127.0.0.1:{master}" in stack.output
    finally:
        stack.stop()


def test_whose_word_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = ("10.0.0.1", 6379), ("10.0.0.2", 6379)
    clients = [redis.Redis() for _ in range(3)]
    asked = Sentinels(SERVICE, clients)
    for number, word, believed in (
        (0, Said(first, 3), first),
        (1, Said(second, 3), first),  # no newer than what is known
        (1, Said(second, 4), second),
        (0, Said(first, 3), second),  # has not heard of it yet
        (2, Said(first, 3), second),
        (0, Said(first, 5), first),
        (1, Said(second, 5), first),
        (2, Said(second, 5), second),  # so say most of them
        (2, Said(first, 4), second),
    ):
        asked.hear(clients[number], word)
        assert asked.known == believed
    monkeypatch.setattr(sentinels, "FORGET_SECONDS", 0.0)  # nobody has named the second for long
    asked.hear(clients[0], Said(first, 0))
    assert asked.known == first, "they were set up anew"


def test_nothing_waits_for_ever_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentinel that would have made another master may have died."""
    monkeypatch.setattr(sentinels, "HOLD_SECONDS", 0.05)
    asked = Sentinels(SERVICE, [])
    asked.hold()
    assert asked.wait_while_held()
    assert not asked.wait_while_held(), "it has waited"


def test_who_starts_while_another_master_is_made_waits_too() -> None:
    """A worker that starts then has not heard the sentinels' announcement, and learns of the failover by asking. One
    that is given up is over at the next question."""
    clients = [redis.Redis() for _ in range(2)]
    asked = Sentinels(SERVICE, clients)
    master = ("10.0.0.1", 6379)
    for leaving, waits in ((True, True), (False, False), (True, True)):
        asked.hear(clients[0], Said(master, 1, leaving=leaving))
        asked.hear(clients[1], Said(master, 1))
        assert asked.held is waits
    asked.hear(clients[1], Said(("10.0.0.2", 6379), 2))
    assert not asked.held


def test_the_failover_of_redis_itself_behind_a_proxy(tmp_path_factory: pytest.TempPathFactory, user: str) -> None:
    pair = Pair(tmp_path_factory.mktemp("servers"))
    try:
        with closing(Relay(pair.first)) as relay:
            stack = up(tmp_path_factory, f"redis://127.0.0.1:{relay.port}")
            try:
                with stack.listen(user, "?since=now", reconnect=True) as source:
                    with publishing(stack, user) as acked:
                        until(lambda: len(acked) > 50, "traffic")
                        redis.Redis(port=pair.first).execute_command("FAILOVER", "TO", "127.0.0.1", pair.second)
                        until(lambda: is_master(pair.second), "the new master")
                        relay.move(pair.second)
                        count = len(acked)
                        until(lambda: len(acked) > count + 50, "traffic by the new master")
                    source.wait(lambda each: len(each.messages) >= len(acked), "all that was acknowledged")
                    assert source.data == acked
                    assert (gaps(source), set(source.statuses)) == (0, {200})
            finally:
                stack.stop()
    finally:
        pair.stop()
