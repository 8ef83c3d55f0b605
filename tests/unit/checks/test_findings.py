"""The words of INFO about a Redis that works and cannot keep every promise."""

from __future__ import annotations

import pytest
import redis

from pushsvc.checks.findings import SECTIONS, findings, parse
from pushsvc.config import Settings
from tests.support.stack import Stack

GOOD = {
    "role": "master", "maxmemory_policy": "noeviction", "aof_enabled": "1", "aof_last_write_status": "ok",
    "rdb_last_bgsave_status": "ok", "maxclients": "10000", "cluster_enabled": "0",
}  # fmt: skip
SETTINGS = Settings(redis_url="redis://localhost", workers=2)
ONLINE = "ip=127.0.0.1,port=7001,state=online,offset=14,lag=0"


@pytest.mark.parametrize(
    ("info", "settings", "codes"),
    [
        ({}, {}, []),
        *(({"maxmemory_policy": f"{what}-{how}"}, {}, ["evicts"])
          for what in ("allkeys", "volatile") for how in ("lru", "lfu", "lrm", "random")),
        ({"maxmemory_policy": "volatile-ttl"}, {}, ["evicts"]),
        ({"maxmemory_policy": None}, {}, ["eviction-unknown"]),
        ({"aof_enabled": "0"}, {}, ["persistence"]),
        ({"aof_enabled": "0", "rdb_last_bgsave_status": "err"}, {}, ["disk", "persistence"]),
        ({"aof_last_write_status": "err"}, {}, ["disk"]),
        ({"slave0": ONLINE}, {"wait_replicas": 1}, []),
        ({"slave0": ONLINE.replace("online", "wait_bgsave")}, {"wait_replicas": 1}, ["replicas"]),
        ({"slave0": ONLINE}, {"wait_replicas": 2}, ["replicas"]),
        ({"slave0": {"ip": "127.0.0.1", "state": "online"}}, {"wait_replicas": 1}, []),  # as redis-py has it
        ({"maxclients": 11}, {}, ["connections"]),
        ({"maxclients": 12}, {}, []),
        ({"maxclients": 12}, {"wait_replicas": 1, "workers": 1}, ["replicas"]),
        ({"maxclients": 4, "cluster_enabled": 1}, {}, []),
    ],
)  # fmt: skip
def test_what_is_found(info: dict[str, object], settings: dict[str, object], codes: list[str]) -> None:
    found = findings(
        {name: value for name, value in (GOOD | info).items() if value is not None},
        SETTINGS.model_copy(update=settings),
    )
    assert [each.code for each in found] == codes
    assert [each.evicts for each in found] == [code == "evicts" for code in codes]


def test_a_server_that_hides_things_is_not_accused() -> None:
    assert [each.code for each in findings({"role": "master"}, SETTINGS)] == ["eviction-unknown"]


def test_it_reads_what_the_server_says(stack: Stack) -> None:
    client: redis.Redis = stack.redis
    client.set_response_callback("INFO", lambda raw, **_: raw)
    assert findings(parse(client.execute_command("INFO", *SECTIONS)), SETTINGS) == []
    assert findings(stack.redis.info(), SETTINGS) == []
    assert parse(b"# Memory\r\nmaxmemory_policy:noeviction\r\nx:a:b\r\n\r\n") == {
        "maxmemory_policy": "noeviction",
        "x": "a:b",
    }
