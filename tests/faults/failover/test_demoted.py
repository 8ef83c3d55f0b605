"""A master that was made a replica while connections to it stay, as behind a balancer that does not cut them: nobody
stays with it, since what it announces it is only sent, until it is a master of its own again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.redis.servers import Relay, Servers
from tests.support.stack import Stack


class KeepingRelay(Relay):
    """A relay whose open connections stay when it moves; only new ones go elsewhere."""

    def move(self, target: int) -> None:
        self._target = target

    def close(self) -> None:
        super().close()
        super().move(0)


class Pair(Servers):
    """A master and its replica, behind a balancer that goes by their roles."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.first, self.second = free_port(), free_port()
        self.serve(self.first, *options)
        self.serve(self.second, "--replicaof", "127.0.0.1", str(self.first), *options)
        self.until_replicated(self.first)

    @staticmethod
    def until_replicated(master: int) -> None:
        until(lambda: redis.Redis(port=master).wait(1, 100) == 1, "the replica")

    def fail_over(self, relay: Relay) -> None:
        redis.Redis(port=self.first).execute_command("FAILOVER")
        until(lambda: is_master(self.second) and not is_master(self.first), "the failover")
        relay.move(self.second)


def is_master(port: int) -> bool:
    return bool(redis.Redis(port=port).role()[0] == b"master")


def subscriptions(port: int) -> int:
    return len(redis.Redis(port=port).client_list(_type="pubsub"))


def heard(source: EventSource) -> list[str]:
    return [json.loads(each.data)["reason"] if each.event == "gap" else each.data for each in source.messages]


@pytest.fixture(params=["yes", "no"], ids=["read-only", "writable"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    servers = Pair(tmp_path / "servers", "--replica-read-only", request.param)
    yield servers
    servers.stop()


def test_all_leave_who_is_a_master_no_more(pair: Pair, tmp_path: Path, user: str) -> None:
    with closing(KeepingRelay(pair.first)) as relay:
        stack = Stack(tmp_path / "stack", redis_url=f"redis://127.0.0.1:{relay.port}", workers=1)
        try:
            with stack.listen(user, base=stack.app_url, reconnect=True) as source:
                before = stack.publish(user=user, data="before")
                source.wait_for(1)
                pair.fail_over(relay)
                until(lambda: subscriptions(pair.second) == 1, "the subscription at the new master")
                until(lambda: subscriptions(pair.first) == 0, "the subscription to leave")
                kept = stack.publish(user=user, data="kept")
                away = stack.publish(user=f"{user}-away", data="seen")
                pair.until_replicated(pair.second)
                redis.Redis(port=pair.first).replicaof("NO", "ONE")
                lost = [stack.publish(user=name, data="lost") for name in (user, f"{user}-away")]
                source.wait_ids(lost[0])
                relay.move(pair.first)
                redis.Redis(port=pair.second).replicaof("127.0.0.1", str(pair.first))
                until(lambda: subscriptions(pair.first) == 1, "the subscription at the first again")
                after = [stack.publish(user=name, data="after") for name in (user, f"{user}-away")]
                source.wait_ids(after[0])
                assert heard(source) == ["before", "kept", "lost", "reset", "after"]
                assert source.statuses == [200]
            assert before < kept < lost[0] < after[0]
            for name, cursor in ((user, kept), (user, lost[0]), (f"{user}-away", away)):
                with stack.listen(name, base=stack.app_url, headers={"Last-Event-ID": cursor}) as again:
                    again.wait(lambda each: each.data[-1:] == ["after"], "what came after")
                    assert heard(again) == ["reset", "after"], cursor
        finally:
            stack.stop()
        assert "Traceback" not in stack.output, stack.output
