"""The promise while parts die: a user gets exactly what was missed, in order, whatever was restarted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from pushsvc.addresses.embedded import socket_path
from pushsvc.config import Settings
from pushsvc.events.event import Event
from pushsvc.stack.valkey import server_command
from pushsvc.storage import log as eventlog
from pushsvc.storage.log import EventLog, Receipt
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.keys import ALONE as keys
from pushsvc.storage.retention import Retention
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.clients.traffic import publishing
from tests.support.processes import dies_with_the_tests
from tests.support.stack import Stack, connections


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose parts are killed, one test after the other."""
    running = Stack(tmp_path_factory.mktemp("faults"))
    yield running
    running.stop()


FAULTS: dict[str, Callable[[Stack], None]] = {
    "all workers killed": lambda stack: stack.kill("gunicorn", slice(1, None)),
    "one worker killed": lambda stack: stack.kill("gunicorn", slice(1, 2)),
    "gunicorn killed": lambda stack: stack.kill("gunicorn"),
    "redis killed": lambda stack: stack.kill("valkey"),
    "nginx killed": lambda stack: stack.kill("nginx"),
    "workers reloaded": lambda stack: os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP),
    "subscriptions cut": lambda stack: stack.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_nothing_is_lost_or_repeated_for_the_one_who_listens(
    breakable: Stack, user: str, fault: Callable[[Stack], None]
) -> None:
    stack = breakable
    with stack.listen(user, reconnect=True) as source:
        with publishing(stack, user) as acked:
            until(lambda: len(acked) > 50, "traffic")
            fault(stack)
            count = len(acked)
            until(lambda: len(acked) > count + 50, "traffic after the fault")
        stack.until_ready()
        source.wait(lambda source: len(source.messages) >= len(acked), "all that was acknowledged")
        assert source.data == acked
        assert set(source.statuses) == {200}, "a browser gives up for good at any other status"


def publish(stack: Stack, user: str, data: str) -> str:
    """Publish as a backend does: again and again under the same key, until it is acknowledged."""
    answers: list[httpx.Response] = []

    def acknowledged() -> bool:
        try:
            answers.append(
                stack.post("/publish", {"user": user, "data": data, "key": data}, stack.bearer(publish=["*"]))
            )
        except httpx.HTTPError:
            return False
        return answers[-1].status_code == 200

    until(acknowledged, "an acknowledgement")
    event_id: str = answers[-1].json()["id"]
    return event_id


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_the_one_who_was_away_gets_exactly_what_was_missed(
    breakable: Stack, user: str, fault: Callable[[Stack], None]
) -> None:
    stack = breakable
    with stack.listen(user, reconnect=True) as source:
        first = stack.publish(user=user, data="had")
        source.wait_ids(first)
    until(lambda: stack.get("/unread", stack.bearer(user)).json()["id"] == first, "the position")
    until(lambda: connections(stack, user) == 0, "its end to be noticed")  # what is written before that counts as had
    missed = stack.publish_many([{"user": user, "data": str(number)} for number in range(20)])
    fault(stack)
    stack.until_ready()
    with (
        stack.listen(user, reconnect=True) as unread,
        stack.listen(user, headers={"Last-Event-ID": first}, reconnect=True) as resumed,
    ):
        live = publish(stack, user, "live")
        for source in (unread, resumed):
            source.wait_ids(live)
            assert source.ids == [*missed, live]


def test_a_frozen_redis_turns_readiness_red_and_heals(start: Start, user: str) -> None:
    stack = start(workers=1)
    pid = stack.pids()["valkey"][0]
    with stack.listen(user) as source:
        before = stack.publish(user=user, data="before")
        source.wait_ids(before)
        os.kill(pid, signal.SIGSTOP)
        try:
            ready = f"{stack.app_url}/readyz"
            until(lambda: httpx.get(ready, trust_env=False, timeout=10).status_code == 503, "readiness to turn red")
            refused = stack.post("/publish", {"user": user, "data": "-"}, stack.bearer(publish=["*"]))
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
        finally:
            os.kill(pid, signal.SIGCONT)
        stack.until_ready()
        after = stack.publish(user=user, data="after")
        source.wait_ids(after)
        assert source.statuses == [200], "the connection itself lasted"
        history = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
        assert source.ids == [event["id"] for event in history], "what the log kept came, no more"


def test_a_publish_waits_for_a_redis_that_is_away_for_a_moment(start: Start, user: str) -> None:
    """Redis freezes in the middle of it. With a key the publish can be repeated, and the event is there once."""
    stack = start(workers=1)
    pid = stack.pids()["valkey"][0]
    with ThreadPoolExecutor() as pool, stack.listen(user) as source:
        os.kill(pid, signal.SIGSTOP)
        try:
            answer = pool.submit(stack.publish, user=user, data="once", key="k")
            until(lambda: "redis: TimeoutError" in stack.output, "the first try to fail")
        finally:
            os.kill(pid, signal.SIGCONT)
        source.wait_ids(answer.result())
        source.wait_ids(stack.publish(user=user, data="after"))
        assert source.data == ["once", "after"]


def test_a_publish_waits_for_a_redis_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was sent yet, so nothing can be doubled, also without a key."""
    monkeypatch.setattr(eventlog, "PATIENCE_SECONDS", 30.0)
    settings = Settings(data_dir=tmp_path)
    log = EventLog(
        RedisClient(connect(f"unix://{socket_path(tmp_path)}")),
        Retention(keep_events=9, keep_seconds=60, dedupe_seconds=60),
    )
    events = [Event("user:a", "message", data) for data in ("one", "two")]
    with ThreadPoolExecutor() as pool:
        receipts = pool.submit(log.append, events)
        until(lambda: "redis: NotSent" in caplog.text, "the first try to fail")
        server = subprocess.Popen(server_command(settings), preexec_fn=dies_with_the_tests(signal.SIGKILL))
        try:
            first, second = receipts.result()
            assert isinstance(first, Receipt)
            assert isinstance(second, Receipt)
            assert first.id < second.id
        finally:
            server.kill()
            server.wait()


def test_what_was_healed_counts_as_had(single: Stack, user: str) -> None:
    stack = single
    with stack.listen(user, base=stack.app_url) as source:
        for number in range(5):
            stack.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            last = stack.publish(user=user, data=str(number))
            source.wait_ids(last)
        until(lambda: stack.get("/unread", stack.bearer(user)).json() == {"unread": 0, "id": last}, "the position")
        assert source.data == ["0", "1", "2", "3", "4"]


def test_a_redis_that_comes_back_with_less_is_said_once(start: Start, worker: str, user: str) -> None:
    """The clock stands before ids that were given out, as after a failover to a replica that was behind."""
    stack = start(worker=worker, workers=1)
    with stack.listen(user, base=stack.app_url) as source:
        stack.redis.execute_command("XADD", keys.clock, f"{int(time.time() * 1000) + 3_600_000}-0", "", "")
        source.wait_ids(stack.publish(user=user, data="lost later"))
        stack.redis.flushall()
        stack.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        source.wait(lambda source: [message.event for message in source.messages] == ["message", "gap"], "the gap")
        for number in range(3):
            source.wait_ids(stack.publish(user=user, data=str(number)))
            stack.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        source.wait_ids(stack.publish(user=user, data="3"))
        assert [message.data for message in source.messages if message.event != "gap"] == ["lost later", *"0123"]
        assert sum(message.event == "gap" for message in source.messages) == 1
        assert json.loads(source.messages[1].data)["reason"] == "reset"
