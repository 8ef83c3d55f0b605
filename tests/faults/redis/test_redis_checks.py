"""The service finds out before it starts whether this Redis will do, and names at once what stands in the way."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from pushsvc.checks import start as redis_checks
from pushsvc.errors import Unavailable
from pushsvc.storage.redis.keys import ALONE
from pushsvc.storage.redis.refusals import REFUSAL_LOG
from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.redis.checking import account, check, configured, port_of, refused
from tests.support.redis.filtering import Words, filtering, in_scripts, refuse
from tests.support.redis.servers import Cluster, Servers
from tests.support.stack import ROOT, command


@pytest.mark.parametrize(
    ("rewrite", "says"),
    [
        (refuse("HELLO", "NOPROTO unsupported protocol version"), r"HELLO 3 \(NOPROTO"),
        (refuse("HELLO", "ERR unknown command 'HELLO'"), r"HELLO 3 \("),
        (refuse("SSUBSCRIBE", "ERR unknown command 'SSUBSCRIBE'"), r"SSUBSCRIBE \("),
        (refuse("SPUBLISH", "ERR unknown command 'SPUBLISH'"), r"SPUBLISH \("),
        (refuse("EVALSHA", "ERR unknown command 'EVALSHA'"), r"EVALSHA \("),
        (refuse("SCRIPT LOAD", "ERR unknown command 'SCRIPT'"), r"SCRIPT LOAD \("),
        (refuse("XRANGE", "ERR command not supported"), r"XRANGE \("),
        (refuse("INFO", "ERR unknown command 'INFO'"), r"INFO \("),
        (in_scripts("SPUBLISH", "ERR pub/sub commands are not supported in Lua"), r"SPUBLISH in scripts \(ERR pub/sub"),
        (in_scripts("TIME", "ERR Unknown Redis command called from script"), r"TIME in scripts \("),
    ],
    ids=["no RESP3", "no HELLO", "no SSUBSCRIBE", "no SPUBLISH", "no EVALSHA", "no SCRIPT", "no XRANGE", "no INFO",
         "no SPUBLISH in scripts", "no TIME in scripts"],
)  # fmt: skip
def test_what_other_products_lack_is_named(bare: redis.Redis, rewrite: Callable[[Words], Words], says: str) -> None:
    with filtering(port_of(bare), rewrite) as port:
        line = refused(f"redis://127.0.0.1:{port}")
    assert re.match(f"PUSHSVC_REDIS_URL: Redis refuses {says}", line), line


def test_a_subscription_that_hears_nothing(bare: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushsvc.storage.redis.topology.connecting.ANSWER_SECONDS", 0.3)
    with filtering(port_of(bare), lambda words: [b"GET", b"-"] if words[0] == b"SPUBLISH" else words) as port:
        assert "nothing comes of SPUBLISH on" in refused(f"redis://127.0.0.1:{port}")
    with filtering(port_of(bare), in_scripts("SPUBLISH", None)) as port:
        assert "nothing comes of SPUBLISH in scripts on" in refused(f"redis://127.0.0.1:{port}")


def test_info_without_the_id_of_the_process(bare: redis.Redis) -> None:
    said = "redis_version:7.4.1\r\nrole:master\r\n"
    answer = [b"EVAL", f"return {said!r}".encode(), b"0"]
    with filtering(port_of(bare), lambda words: answer if words[0] == b"INFO" else words) as port:
        assert "INFO says no run_id" in refused(f"redis://127.0.0.1:{port}")


def test_nothing_is_left_and_nobody_hears_it(bare: redis.Redis) -> None:
    url = f"redis://127.0.0.1:{port_of(bare)}"
    bare.flushall()
    check(url)
    before = sorted(bare.scan_iter())
    with ThreadPoolExecutor(4) as starting:
        assert list(starting.map(check, [url] * 12)) == [[]] * 12
    assert sorted(bare.scan_iter()) == before
    assert before == sorted(name.encode() for name in (ALONE.clock, ALONE.epoch, ALONE.server))
    until(lambda: bare.execute_command("PUBSUB", "SHARDCHANNELS") == [], "the subscriptions to end")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_is_refused(bare: redis.Redis, policy: str) -> None:
    with configured(bare, **{"maxmemory-policy": policy}) as url:
        assert f"maxmemory-policy {policy}" in refused(url)


def test_what_can_be_lived_with_is_said(bare: redis.Redis) -> None:
    with configured(bare, appendonly="no") as url:
        [line] = check(url)
        assert "appendonly no" in line
    [line] = check(url, wait_replicas=2)
    assert "0 of the 2 replicas that PUSHSVC_WAIT_REPLICAS" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [({"maxmemory": 1}, "OOM"), ({"min-replicas-to-write": 1}, "NOREPLICAS")],
)
def test_one_that_takes_no_writes_is_taken(bare: redis.Redis, options: dict[str, str | int], says: str) -> None:
    """Listeners are served all the same."""
    with configured(bare, **options) as url:
        [line] = check(url)
        assert "Redis takes no writes now" in line
        assert says in line
        for command in ("xtrim", "ssubscribe", "hstrlen"):
            with account(bare, "~*", "&*", "+@all", f"-{command}") as bad:
                if command != "xtrim" or "maxmemory" in options:  # else no script may run at all
                    assert command.upper() in refused(bad)


def test_all_connections_are_taken(bare: redis.Redis) -> None:
    with configured(bare, maxclients=3) as url:
        assert "max number of clients reached" in refused(url)


def test_a_subscription_that_is_cut_at_once(bare: redis.Redis) -> None:
    with configured(bare, **{"client-output-buffer-limit": "pubsub 16kb 16kb 0"}) as url:
        assert "client-output-buffer-limit" in refused(url)


def test_somebody_s_script_is_waited_for(bare: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_checks, "PATIENCE_SECONDS", 0.3)
    with configured(bare, **{"busy-reply-threshold": 1}) as url, ThreadPoolExecutor(1) as somebody:
        script = somebody.submit(
            lambda: redis.Redis(port=port_of(bare), socket_timeout=60).eval("while true do end", 0)
        )
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline
            try:
                bare.ping()
            except redis.ResponseError:
                break
        try:
            assert "busy with somebody's script" in refused(url)
            monkeypatch.setattr(redis_checks, "PATIENCE_SECONDS", 30)
            waiting = ThreadPoolExecutor(1).submit(check, url)
        finally:
            bare.script_kill()
        assert waiting.result() == []
        assert script.exception() is not None


def test_a_replica_is_named(bare: redis.Redis) -> None:
    with configured(bare, **{"replica-read-only": "no"}) as url:
        bare.replicaof("127.0.0.1", 1)
        try:
            assert "Redis is a replica, though a writable one, there; its master is needed" in refused(url)
            bare.config_set("replica-read-only", "yes")
            assert "Redis is a read-only replica there; its master is needed" in refused(url)
        finally:
            bare.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("database", [0, 3])
def test_a_sentinel_is_named(tmp_path: Path, database: int) -> None:
    servers = Servers(tmp_path)
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"port {(port := free_port())}\n")
    servers._run(port, str(configuration), "--sentinel")
    try:
        line = refused(f"redis://127.0.0.1:{port}/{database}")
        assert "a sentinel answers there; use redis+sentinel://" in line
        line = refused(f"redis+cluster://127.0.0.1:{port}")
        assert "a sentinel answers there; use redis+sentinel://" in line
    finally:
        servers.stop()


def test_a_plain_server_is_no_cluster(bare: redis.Redis) -> None:
    assert "no node of a cluster; use redis://" in refused(f"redis+cluster://127.0.0.1:{port_of(bare)}")


def test_a_node_that_hides_cluster_is_no_sentinel(bare: redis.Redis) -> None:
    with filtering(port_of(bare), refuse("CLUSTER", "ERR unknown command 'CLUSTER'")) as port:
        assert "Redis refuses the service: unknown command 'CLUSTER'" in refused(f"redis+cluster://127.0.0.1:{port}")


@pytest.mark.parametrize("words", ["up", "serve"])
def test_the_refusal_is_all_that_is_said(bare: redis.Redis, tmp_path: Path, words: str) -> None:
    with account(bare, "~*", "&*", "+@all", "-ssubscribe") as url:
        line, environ = command(words, redis_url=url, data_dir=tmp_path, http=f"127.0.0.1:{free_port()}")
        done = subprocess.run(line, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    [said] = (done.stdout + done.stderr).splitlines()
    assert said.startswith("pushsvc: PUSHSVC_REDIS_URL: Redis refuses SSUBSCRIBE (")


def test_a_service_starts_while_redis_takes_no_writes(bare: redis.Redis, start: Start, user: str) -> None:
    with configured(bare, **{"min-replicas-to-write": 1}) as url:
        stack = start(redis_url=url, workers=1)
        assert stack.output.count("pushsvc: Redis takes no writes now (NOREPLICAS)") == 1
        # Where nothing was ever written there is no clock, and a stream is refused for now.
        with EventSource(f"{stack.url}/events", stack.bearer(user), reconnect=True) as source:
            source.wait(lambda each: each.statuses, "an answer")
            bare.config_set("min-replicas-to-write", 0)
            source.wait_ids(stack.publish(user=user))
            assert set(source.statuses) == {200}


def test_a_disk_that_cannot_be_written_to(tmp_path: Path) -> None:
    servers = Servers(tmp_path)
    port = free_port()
    servers.serve(port, "--appendonly", "no", "--save", "3600 1")
    try:
        client = redis.Redis(port=port)
        client.set("x", "1")
        shutil.rmtree(tmp_path / str(port))
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the failure")
        lines = check(f"redis://127.0.0.1:{port}")
        assert "Redis cannot write to its disk." in lines
        assert "MISCONF" in lines[-1]
    finally:
        servers.stop()


def test_a_cluster_that_has_lost_partitions(tmp_path: Path) -> None:
    """Users who do not live there are served."""
    alone = ("--user", "alone", "nopass", "on", "~pushsvc{0}:*", "&pushsvc{0}:*", "+@all")  # as for one server
    cluster = Cluster(tmp_path, "--cluster-require-full-coverage", "no", *alone, replicas=False)
    try:
        assert check(cluster.url) == []
        line = refused(cluster.url.replace("//", "//alone:-@"))
        assert "the names of all keys and channels begin with pushsvc{;" in line
        first, second, third = cluster.ports
        cluster.ask(second, "ACL", "SETUSER", "alone", "~*", "allchannels")
        for port in (first, third):
            cluster.ask(port, "ACL", "SETUSER", "alone", "~*", "allchannels", "-xtrim")
            line = refused(cluster.url.replace("//", "//alone:-@"))
            assert f"Redis at 127.0.0.1:{port} refuses XTRIM in scripts" in line
            cluster.ask(port, "ACL", "SETUSER", "alone", "+xtrim")
        cluster.kill(third)
        [line] = check(cluster.url)
        assert line.startswith("the cluster has lost the partitions 5, 6, 7;"), line
        cluster.kill(second)
        cluster.kill(first)
        assert "Redis does not answer" in refused(cluster.url)
    finally:
        cluster.stop()


def test_a_master_that_is_just_replaced_is_waited_for(bare: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    def changing(*_: object) -> None:
        raise Unavailable("Redis is changing its master; try again.", retry_after=1)

    monkeypatch.setattr(redis_checks, "rehearse", changing)
    monkeypatch.setattr(redis_checks, "PATIENCE_SECONDS", 0.0)
    assert "Redis is changing its master" in refused(f"redis://127.0.0.1:{port_of(bare)}")


def test_a_cluster_that_is_down(tmp_path: Path) -> None:
    """Listeners can be served if it lets its data be read meanwhile."""
    cluster = Cluster(tmp_path, "--cluster-allow-reads-when-down", "yes", replicas=False)
    try:
        first, second, third = cluster.ports
        check(cluster.url)
        cluster.kill(third)
        until(
            lambda: all(b"cluster_state:fail" in cluster.ask(port, "CLUSTER", "INFO") for port in (first, second)),
            "the others to notice",
        )
        lines = check(cluster.url)
        assert lines[0].startswith("Redis takes no writes now (CLUSTERDOWN)")
        assert lines[1].startswith("the cluster has lost the partitions 5, 6, 7;")
        for port in (first, second):
            cluster.ask(port, "CONFIG", "SET", "cluster-allow-reads-when-down", "no")
        assert "Redis does not answer: " in refused(cluster.url)
    finally:
        cluster.stop()


def test_what_the_start_says_in_one_line_is_not_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    with redis_checks._unlogged():
        REFUSAL_LOG.warn(redis.ResponseError("BUSY said by the start"))
    assert not caplog.records
    REFUSAL_LOG.warn(redis.ResponseError("BUSY said by the service"))
    assert len(caplog.records) == 1
