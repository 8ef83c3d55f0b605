"""A Redis's words about itself when a connection is made: which process it is, and whether it is a master."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis
from redis.exceptions import NoPermissionError, ReadOnlyError

from pushsvc.errors import TooFewReplicas, Unavailable
from pushsvc.events.event import Event, EventId
from pushsvc.storage import log as eventlog
from pushsvc.storage.log import EventLog, Receipt
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.epochs import EpochHistory
from pushsvc.storage.redis.fencing import INTRODUCE, Fence, Unnamed, introduction
from pushsvc.storage.redis.keys import ALONE as keys
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.scripts import Script
from pushsvc.storage.retention import Retention
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.redis.servers import Servers
from tests.support.stack import Stack

# As workers of earlier versions have it, who may stand beside.
EARLIER = """
local info = redis.call('INFO', 'server', 'replication')
local process = string.match(info, 'run_id:(%w+)')
if not string.match(info, 'master_replid2:0+%s') then
  process = process .. ' ' .. string.match(info, 'master_replid:(%w+)')
end
return process
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    running = Servers(tmp_path / "servers")
    yield running
    running.stop()


def a_server(servers: Servers, *options: str) -> int:
    servers.serve(port := free_port(), *options)
    return port


def a_replica(servers: Servers, master: int, *options: str) -> int:
    port = a_server(servers, "--replicaof", "127.0.0.1", str(master), *options)
    until(lambda: redis.Redis(port=master).wait(1, 100) == 1, "the replica")
    return port


def log_of(url: str) -> EventLog:
    fence = Fence(keys)
    store = RedisClient(connect(url, fence.handshake), keys, fence)
    return EventLog(store, Retention(keep_events=100, keep_seconds=60, dedupe_seconds=60))


def at(port: int) -> str:
    return f"redis://127.0.0.1:{port}"


def told(log: EventLog, data: str = "x") -> Receipt:
    [receipt] = log.append([Event("user:u", "message", data)])
    assert isinstance(receipt, Receipt), receipt
    return receipt


def epochs(port: int) -> list[bytes]:
    return bytes(redis.Redis(port=port).get(keys.epoch) or b"").split()  # type: ignore[arg-type]


def test_no_script_asks_who_it_is() -> None:
    """Redis Cloud and others refuse INFO to scripts."""
    assert [script for script in Script.all if b"INFO" in script.source] == []


def test_the_word_is_what_earlier_versions_noted(servers: Servers) -> None:
    first = a_server(servers)
    second = a_replica(servers, first)

    def words(port: int) -> tuple[bytes, Any]:
        with connect(at(port)) as client:
            said = client.connection_pool.get_connection()
            said.send_packed_command([b"".join(map(hiredis.pack_command, INTRODUCE))])
            return introduction(*(said.read_response() for _ in INTRODUCE)).word, client.eval(EARLIER, 0)

    for port in (first, second):
        if port == second:
            redis.Redis(port=second).replicaof("NO", "ONE")
        word, earlier = words(port)
        assert word == earlier
        assert (b" " in word) == (port == second), "one that has been a replica"


def test_who_does_not_say_who_it_is_is_not_believed() -> None:
    with pytest.raises(Unnamed, match="run_id"):
        introduction(b"redis_version:7.4.2\r\n", b"role:master\r\n")
    assert introduction(b"run_id:ab12\r\n", b"role:master\r\n") == (b"ab12", b"ab12", True)
    assert not introduction(b"run_id:ab12\r\n", b"role:slave\r\n").is_master


def test_a_server_that_refuses_info_is_not_used(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventlog, "PATIENCE_SECONDS", 0.0)
    port = a_server(servers)
    redis.Redis(port=port).execute_command("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all", "-info")
    url = f"redis://u:p@127.0.0.1:{port}"
    with connect(url, Fence(keys).handshake) as client, pytest.raises(NoPermissionError, match="info"):
        client.ping()
    [refused] = log_of(url).append([Event("user:u", "message", "x")])
    assert isinstance(refused, Unavailable)
    assert "rights" in str(refused.detail)
    assert not redis.Redis(port=port).keys("*")


@pytest.mark.parametrize("options", [(), ("--replica-read-only", "no")], ids=["read-only", "writable"])
def test_a_replica_is_never_used(servers: Servers, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not used even if the process had the data before, so that nothing new is to be noted."""
    monkeypatch.setattr(eventlog, "PATIENCE_SECONDS", 0.0)
    first = a_server(servers, *options)
    log = log_of(at(first))
    told(log)
    second = a_replica(servers, first)
    redis.Redis(port=second).replicaof("NO", "ONE")
    redis.Redis(port=first).replicaof("127.0.0.1", str(second))
    until(lambda: redis.Redis(port=second).wait(1, 100) == 1, "the replica")
    with connect(at(first), Fence(keys).handshake) as client, pytest.raises(ReadOnlyError):
        client.ping()
    [refused] = log_of(at(first)).append([Event("user:u", "message", "x")])
    assert isinstance(refused, Unavailable)
    assert "read-only replica" in str(refused.detail)


def test_no_connection_stays_with_who_became_a_replica(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that takes writes would acknowledge them, and lose them."""
    monkeypatch.setattr(eventlog, "PATIENCE_SECONDS", 0.0)
    first = a_server(servers, "--replica-read-only", "no")
    fence = Fence(keys)
    store = RedisClient(connect(at(first), fence.handshake), keys, fence)
    assert store.execute_one(("SET", "a", 1)) == b"OK"
    second = a_replica(servers, first)
    redis.Redis(port=second).replicaof("NO", "ONE")
    redis.Redis(port=first).replicaof("127.0.0.1", str(second))
    with pytest.raises(ReadOnlyError):
        fence.check_role(introduction(*store.execute(INTRODUCE)))
    for ask in (store.execute_one, lambda command: store.read([command])):
        with pytest.raises(Unavailable, match="replica"):
            ask(("SET", "a", 2))
    redis.Redis(port=first).replicaof("NO", "ONE")
    assert store.execute_one(("SET", "a", 3)) == b"OK"


def test_a_life_that_could_not_be_noted_is_noted_before_the_next_event(servers: Servers) -> None:
    """There are too few replicas when it begins, as after a restart; readers are served meanwhile."""
    port = a_server(servers)
    redis.Redis(port=port).config_set("appendfsync", "always")  # a slow disk has `everysec` put writes off
    log = log_of(at(port))
    had = told(log)
    servers.kill(port)
    servers.serve(port, "--min-replicas-to-write", "1")
    log = log_of(at(port))
    assert log.clock().last == had.id
    assert len(epochs(port)) == 1
    [refused] = log.append([Event("user:u", "message", "refused")])
    assert isinstance(refused, TooFewReplicas)
    redis.Redis(port=port).config_set("min-replicas-to-write", 0)
    after = told(log)
    assert len(epochs(port)) == 3
    assert had.id < EventId.from_redis(epochs(port)[-1]) < after.id


def test_a_receipt_is_of_the_life_in_which_the_data_has_the_event(stack: Stack) -> None:
    """No connection breaks when the data is flushed, nor when a new worker begins the next life."""
    own = Keys(0, 1, "receipts")

    def log() -> EventLog:
        fence = Fence(own)
        store = RedisClient(connect(f"unix://{stack.data_dir}/valkey.sock", fence.handshake, own), own, fence)
        return EventLog(store, Retention(keep_events=100, keep_seconds=60, dedupe_seconds=60))

    def epoch() -> bytes:
        return EpochHistory.latest(stack.redis.get(own.epoch) or b"")  # type: ignore[arg-type]  # redis-py's

    first, ids, epochs = log(), [], []
    for happens in (first.clock, lambda: stack.redis.delete(*stack.redis.scan_iter(match="receipts{*")), log().clock):
        happens()
        ids.append(told(first).id)
        epochs.append(epoch())
    assert len(set(epochs)) == 3
    assert first.acknowledged.newest() == dict(zip(epochs, ids, strict=True))
    now = first.clock().epochs
    assert now.losses_of(dict(zip(epochs[1:], ids[1:], strict=True))) == set(), "nothing is lost that is there"
    assert ids[0] < now.birth, "what was flushed is still known"
