"""Redis behind sentinels: whoever is the master, nothing is lost that was acknowledged."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from pushsvc.storage.redis.client import connect
from tests.support.clients.eventsource import until
from tests.support.clients.traffic import publishing
from tests.support.redis.servers import Replicated
from tests.support.stack import Stack


@pytest.fixture
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    servers = Replicated(tmp_path_factory.mktemp("replicated"))
    yield servers
    servers.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_another_becomes_the_master(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory, user: str, number: signal.Signals
) -> None:
    stack = Stack(tmp_path_factory.mktemp("stack"), redis_url=replicated.url, wait_replicas=1)
    try:
        with stack.listen(user, reconnect=True) as source:
            with publishing(stack, user) as acked:
                until(lambda: len(acked) > 50, "traffic")
                first = replicated.master
                replicated.signal(first, number)
                until(lambda: replicated.master != first, "another master")
                count = len(acked)
                until(lambda: len(acked) > count + 50, "traffic by the new master")
                if number is signal.SIGSTOP:  # it wakes up, and does not know
                    replicated.signal(first, signal.SIGCONT)
                    until(lambda: redis.Redis(port=first).role()[0] == b"slave", "it to know")
                    count = len(acked)
                    until(lambda: len(acked) > count + 50, "traffic after that")
            source.wait(lambda each: len(each.messages) >= len(acked), "all that was acknowledged")
            assert source.data == acked
            assert set(source.statuses) == {200}
            assert not [message for message in source.messages if message.event == "gap"]
    finally:
        stack.stop()


def test_a_sentinel_that_is_silent_is_asked_once(replicated: Replicated) -> None:
    """Whoever needs the master waits meanwhile."""
    asked: list[socket.socket] = []

    def say_nothing() -> None:
        with suppress(OSError):
            while True:
                asked.append(gone.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as gone:
        threading.Thread(target=say_nothing, daemon=True).start()
        port = gone.getsockname()[1]
        redis_there = connect(replicated.url.replace("://", f"://127.0.0.1:{port},"))
        assert redis_there.ping()
        gone.shutdown(socket.SHUT_RDWR)
    for each in asked:
        each.close()
    assert len(asked) == 1


def test_nothing_is_acknowledged_that_no_replica_has(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory, user: str
) -> None:
    """It is not acknowledged when it is published again either, though the master has it since the first time."""
    stack = Stack(tmp_path_factory.mktemp("stack"), redis_url=replicated.url, wait_replicas=1)
    bearer = stack.bearer(publish=["*"])
    replicas = [port for port in replicated.servers if port != replicated.master]
    try:
        first = stack.publish(user=user, data="first")
        for port in replicas:
            replicated.signal(port, signal.SIGSTOP)
        for _ in range(2):
            refused = stack.post("/publish", {"user": user, "data": "second", "key": "k"}, bearer)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "replicas" in refused.json()["detail"]
        for port in replicas:
            replicated.signal(port, signal.SIGCONT)
        second = stack.publish(user=user, data="second", key="k")
        events = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
        assert [event["id"] for event in events] == [first, second]
    finally:
        stack.stop()


def test_what_a_failover_loses_is_said(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory, user: str
) -> None:
    """Replication is asynchronous: what no replica has when the master dies is gone, though it was acknowledged."""
    stack = Stack(tmp_path_factory.mktemp("stack"), redis_url=replicated.url)
    first = replicated.master
    replicas = [port for port in replicated.servers if port != first]
    try:
        with stack.listen(user, reconnect=True) as source:
            kept = stack.publish(user=user, data="kept")
            assert replicated.redis.wait(2, 10_000) == 2
            for port in replicas:
                replicated.signal(port, signal.SIGSTOP)
            replicated.redis.execute_command("CLIENT", "KILL", "TYPE", "replica")
            lost = stack.publish(user=user, data="lost")
            source.wait_ids(kept, lost)
            replicated.signal(first, signal.SIGKILL)
            for port in replicas:
                replicated.signal(port, signal.SIGCONT)
            stack.until_ready()
            after = stack.publish(user=user, data="after", key="after")  # it may have to be repeated
            source.wait_ids(kept, lost, after)
            assert [message.event for message in source.messages] == ["message", "message", "gap", "message"]
            assert json.loads(source.messages[2].data)["reason"] == "reset"
    finally:
        stack.stop()
