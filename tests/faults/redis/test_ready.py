"""A worker is red only where another one could serve better. What is wrong everywhere is named, and stops no more than
it must. All of it ends by itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.readiness import published, readiness, until_well
from tests.support.redis.servers import Servers
from tests.support.stack import Stack


def until_named(stack: Stack, *pieces: str) -> None:
    """Wait until one problem is named, whose sentence has these words."""

    def named() -> bool:
        status, body = readiness(stack)
        assert status == 200, body
        problems = body.get("problems", [""])
        return len(problems) == 1 and all(piece in problems[0] for piece in pieces)

    until(named, "the problem to be named")


def test_nothing_is_acknowledged_that_redis_may_evict(start: Start, user: str) -> None:
    """Nothing new is acknowledged, but what is there is served, and all goes on once an operator has set it right."""
    stack = start(workers=1, heartbeat_seconds=0.5)
    until_well(stack)
    ids = stack.publish_many([{"user": user, "data": data} for data in ("1", "2", "3")])
    with stack.listen(user) as source:
        stack.redis.config_set("maxmemory-policy", "volatile-lru")
        until_named(stack, "maxmemory-policy volatile-lru")
        for item in ({"user": user}, {"topic": user, "key": "k"}, {"all": True}):
            refused = published(stack, **item)
            assert refused.status_code == 503
            assert "maxmemory-policy volatile-lru" in refused.json()["detail"]
            assert int(refused.headers["retry-after"]) > 0
        with stack.listen(user, headers={"Last-Event-ID": ids[0]}) as late:
            late.wait_ids(*ids[1:])
            late.wait(lambda each: each.parser.comments.count("") >= 2, "it to stay open")
        assert stack.get("/history", stack.bearer(user), channel=f"user:{user}").status_code == 200
        stack.redis.config_set("maxmemory-policy", "noeviction")
        until_well(stack)
        ids.append(stack.publish(user=user, data="4"))
        source.wait_ids(*ids)
        assert source.ids == ids
        assert source.statuses == [200]
    until(lambda: "No more: Publishes are refused" in stack.output, "the end to be said")
    assert stack.output.count("Publishes are refused") == 2, stack.output


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    running = Servers(tmp_path / "servers")
    yield running
    running.stop()


def test_replicas_that_are_missing(start: Start, servers: Servers, user: str) -> None:
    """Everything is heard; only its publisher is told that it may yet be lost."""
    port, replica = free_port(), free_port()
    servers.serve(port)
    stack = start(workers=1, redis_url=f"redis://127.0.0.1:{port}", wait_replicas=1)
    until_named(stack, "Too few replicas", "(0 of 1)")
    with stack.listen(user) as source:
        refused = published(stack, user=user, key="k")
        assert refused.status_code == 503
        assert refused.json()["detail"] == "Too few replicas of Redis have what was published (0 of 1); try again."
        source.wait_for(1)
        servers.serve(replica, "--replicaof", "127.0.0.1", str(port))
        until_well(stack)
        assert published(stack, user=user, key="k").json() == {"id": source.ids[0], "duplicate": True}
        servers.signal(replica, signal.SIGSTOP)  # INFO goes on to call it online
        until_named(stack, "Too few replicas", "(0 of 1)")
        servers.signal(replica, signal.SIGCONT)
        until_well(stack)
        assert source.statuses == [200]


def test_an_account_that_may_not_wait_any_more(start: Start, servers: Servers, user: str) -> None:
    port, replica = free_port(), free_port()
    servers.serve(port)
    servers.serve(replica, "--replicaof", "127.0.0.1", str(port))
    with redis.Redis(port=port) as operator:
        until(lambda: operator.wait(1, 100) == 1, "the replica")
        operator.acl_setuser("push", enabled=True, passwords=["+word"], keys=["*"], channels=["*"], commands=["+@all"])
        stack = start(workers=1, redis_url=f"redis://push:word@127.0.0.1:{port}", wait_replicas=1)
        until_well(stack)
        operator.execute_command("ACL", "SETUSER", "push", "-wait")
        until_named(stack, "WAIT")
        refused = published(stack, user=user)
        assert (refused.status_code, "WAIT" in refused.json()["detail"]) == (503, True)
        operator.execute_command("ACL", "SETUSER", "push", "+wait")
        until_well(stack)
        assert published(stack, user=user).status_code == 200


def test_what_redis_refuses_to_write_is_named(start: Start, user: str) -> None:
    stack = start(workers=1)
    until_well(stack)
    for setting, value, well, word in (
        ("min-replicas-to-write", 1, 0, "too few replicas"),
        ("maxmemory", 1, 0, "no memory left"),
    ):
        stack.redis.config_set(setting, value)
        until_named(stack, "Publishes are refused", word)
        stack.redis.config_set(setting, well)
        until_well(stack)
    until(lambda: stack.output.count("No more: ") == 2, "the ends to be said")
    assert stack.output.count("Publishes are refused") == 4, stack.output


@contextmanager
def crowded(client: redis.Redis) -> Iterator[None]:
    """Take every connection that Redis has left."""
    most = client.config_get("maxclients")["maxclients"] or ""
    client.config_set("maxclients", len(client.client_list()))
    try:
        yield
    finally:
        client.config_set("maxclients", most)


def client_that_said(operator: redis.Redis, command: str) -> str:
    """The id of the client whose last command this was."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [each["id"] for each in operator.client_list() if each["cmd"] == command]
        return bool(found)

    until(look, f"a client that says {command}")
    [only] = found
    return only


def test_a_worker_that_cannot_read(start: Start, servers: Servers, user: str) -> None:
    """Its connection for reads ends, and Redis has no other for it: another worker may have one."""
    port = free_port()
    servers.serve(port)
    stack = start(workers=1, redis_url=f"redis://127.0.0.1:{port}")
    until_well(stack)
    stack.publish(user=user, data="1")
    with closing(redis.Redis(port=port, single_connection_client=True)) as operator:
        operator.ping()
        with stack.listen(user, "?since=now") as source:
            reads = client_that_said(operator, "getrange")
            with crowded(operator):
                operator.execute_command("CLIENT", "KILL", "ID", reads)
                other = redis.Redis(port=port).connection_pool.make_connection()
                other.connect()  # before it comes back itself
                until(lambda: readiness(stack)[0] == 503, "it to be red")
                assert "maxclients" in readiness(stack)[1]["detail"]
                history = stack.get("/history", stack.bearer(user), channel=f"user:{user}")
                assert (history.status_code, "maxclients" in history.json()["detail"]) == (503, True)
                last = stack.publish(user=user, data="2")
                source.wait_ids(last)
            other.disconnect()
            until_well(stack)
            assert stack.get("/history", stack.bearer(user), channel=f"user:{user}").status_code == 200
            assert source.statuses == [200]


def test_a_worker_that_cannot_publish(start: Start, servers: Servers, user: str) -> None:
    """It loses the connection for publishing, which is one of its own with WAIT_REPLICAS."""
    port, replica = free_port(), free_port()
    servers.serve(port)
    servers.serve(replica, "--replicaof", "127.0.0.1", str(port))
    stack = start(workers=1, redis_url=f"redis://127.0.0.1:{port}", wait_replicas=1)
    until_well(stack)
    with closing(redis.Redis(port=port, single_connection_client=True)) as operator:
        operator.ping()
        waits = client_that_said(operator, "wait")
        with crowded(operator):
            operator.execute_command("CLIENT", "KILL", "ID", waits)
            other = redis.Redis(port=port).connection_pool.make_connection()
            other.connect()  # before it comes back itself
            until(lambda: readiness(stack)[0] == 503, "it to be red")
            assert "maxclients" in readiness(stack)[1]["detail"]
            assert "maxclients" in published(stack, user=user).json()["detail"]
        other.disconnect()
        until_well(stack)
        assert published(stack, user=user).status_code == 200
