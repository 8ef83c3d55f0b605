"""Redis loses what it acknowledged last, in each way in which it can, while nobody listens: users who were away are
told, by whatever they ask, and whatever cursor they bring."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from pushsvc.storage.redis.keys import ALONE as keys
from tests.support.clients.eventsource import until
from tests.support.inside.lives import heard
from tests.support.ports import free_port
from tests.support.redis.servers import Relay, Servers
from tests.support.stack import Stack

Accident = Callable[..., None]


class Fragile(Servers):
    """A server that loses the last events, and a replica that does not have them."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.port, self.replica = free_port(), free_port()
        self.data = folder / str(self.port)
        self._options = options
        self.serve(self.port, *options)
        self.relay = Relay(self.port)

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def again(self, *options: str) -> None:
        self.serve(self.port, *self._options, *options)

    @contextmanager
    def cutting(self) -> Iterator[Accident]:
        """An accident that cuts the append-only file, as a power cut does with `everysec`."""
        [log] = (self.data / "appendonlydir").glob("*.incr.aof")
        size = log.stat().st_size

        def cut(*options: str) -> None:
            self.kill(self.port)
            with log.open("r+b") as file:
                file.truncate(size)
            self.again(*options)

        yield cut

    @contextmanager
    def promoting(self) -> Iterator[Accident]:
        """An accident after which a replica is the master that the last events have not reached."""
        self.serve(self.replica, "--replicaof", "127.0.0.1", str(self.port))
        replica = redis.Redis(port=self.replica)
        until(lambda: replica.exists(keys.log("all")), "the replica")
        replica.replicaof("127.0.0.1", str(free_port()))

        def promote() -> None:
            self.kill(self.port)
            replica.replicaof("NO", "ONE")
            self.relay.move(self.replica)

        yield promote

    @contextmanager
    def restoring(self) -> Iterator[Accident]:
        """An accident after which an earlier snapshot is put back."""
        self.client.save()
        copy = self.data / "copy.rdb"
        shutil.copy(self.data / "dump.rdb", copy)

        def restore() -> None:
            self.kill(self.port)
            copy.replace(self.data / "dump.rdb")
            self.again()

        yield restore


@pytest.fixture(params=["cutting", "promoting", "restoring"])
def fragile(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Fragile, Any]]:
    options = ("--appendonly", "no") if request.param == "restoring" else ()
    servers = Fragile(tmp_path / "servers", *options)
    with closing(servers.relay):
        yield servers, getattr(servers, request.param)
    servers.stop()


def test_who_was_away_is_told(fragile: tuple[Fragile, Any], tmp_path: Path, user: str) -> None:
    servers, losing = fragile
    with ExitStack() as ending:
        stack = Stack(tmp_path / "stack", redis_url=f"redis://127.0.0.1:{servers.relay.port}")
        ending.callback(stack.stop)
        channels: tuple[dict[str, Any], ...] = ({"user": user}, {"topic": user}, {"all": True})
        seen = stack.publish(user=user, data="seen")
        ticket = stack.post("/tickets", {"user": user}, stack.bearer(user)).json()["cursor"]
        stack.publish_many([channel | {"data": "kept"} for channel in channels])
        accident = ending.enter_context(losing())
        stack.publish_many([channel | {"data": "lost"} for channel in channels for _ in range(2)])
        accident()
        # At once, before anybody could have looked.
        [*_, after] = stack.publish_many([channel | {"data": "after", "key": "after"} for channel in channels])
        for cursor in (seen, ticket):
            query = f"?topics={user}"
            with stack.listen(user, query, base=stack.app_url, headers={"Last-Event-ID": cursor}) as source:
                source.wait_ids(after)
                assert heard(source) in (["kept"] * 3 + ["reset"] + ["after"] * 3, ["reset"] + ["kept", "after"] * 3)
        for channel in (f"user:{user}", f"topic:{user}", "all"):
            reader = stack.bearer(user, subscribe=["*"])
            page = stack.get("/history", reader, channel=channel, after=seen).json()
            assert [event["data"] for event in page["events"]] == ["kept", "after"]
            assert page["gap"]["reason"] == "reset"
        with stack.listen(user, base=stack.app_url, headers={"Last-Event-ID": after}) as source:
            stack.publish(user=user, data="later")
            source.wait_for(1)
            assert heard(source) == ["later"]
    assert "Traceback" not in stack.output, stack.output


def test_a_redis_that_takes_no_note_of_it_yet(tmp_path: Path, user: str) -> None:
    """It comes back with less, and without its replica. Users who come meanwhile are told, and those who come later."""
    servers = Fragile(tmp_path / "servers")
    with ExitStack() as ending:
        ending.callback(servers.stop)
        ending.callback(servers.relay.close)
        stack = Stack(tmp_path / "stack", redis_url=f"redis://127.0.0.1:{servers.relay.port}", workers=1)
        ending.callback(stack.stop)
        seen, _ = stack.publish_many([{"user": user, "data": data} for data in ("seen", "kept")])
        accident = ending.enter_context(servers.cutting())
        stack.publish(user=user, data="lost")
        accident("--min-replicas-to-write", "1")
        stack.until_ready()
        resumed = {"Last-Event-ID": seen}
        with stack.listen(user, base=stack.app_url, headers=resumed) as meanwhile:
            meanwhile.wait(lambda each: "kept" in each.data, "what is kept")
            refused = stack.post("/publish", {"user": user, "data": "refused"}, stack.bearer(publish=["*"]))
            assert refused.status_code == 503
            servers.client.config_set("min-replicas-to-write", 0)
            after = stack.publish(user=user, data="after", key="after")
            meanwhile.wait_ids(after)
            assert "reset" in heard(meanwhile)
            assert [each for each in heard(meanwhile) if each != "reset"] == ["kept", "after"]
        with stack.listen(user, base=stack.app_url, headers=resumed) as later:
            later.wait_ids(after)
            assert heard(later) == ["kept", "reset", "after"]
    assert "Traceback" not in stack.output, stack.output
