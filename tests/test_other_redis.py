"""The same behaviour with a Redis that is not the embedded one: Debian's, and a master behind sentinels."""

# ruff: noqa: F403  # the behavioural suite, with the fixtures of this module
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests import behaviour, programs
from tests.behaviour import *
from tests.eventsource import until
from tests.model import Model
from tests.servers import Replicated, Servers
from tests.stack import Stack, free_port
from tests.test_faults import publishing


class Debian(Servers):
    """One server, Debian's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, programs.need(programs.REDIS))
        self.port = free_port()
        self.serve(self.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def redis(self) -> redis.Redis:
        return redis.Redis(port=self.port)


class Elsewhere(Stack):
    """Its data is not in its own folder."""

    def __init__(self, servers: Debian | Replicated, folder: Path, **settings: object) -> None:
        self.servers = servers
        super().__init__(folder, redis_url=servers.url, **settings)

    @property
    def redis(self) -> redis.Redis:
        return self.servers.redis


@pytest.fixture(scope="module", params=[Debian, Replicated], ids=["Debian's", "behind sentinels"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _model: Model
) -> Iterator[Elsewhere]:
    servers = request.param(tmp_path_factory.mktemp("servers"))
    running = Elsewhere(servers, tmp_path_factory.mktemp("stack"), **behaviour.settings(_model))
    yield running
    running.stop()
    servers.stop()
    assert "Traceback" not in running.output, running.output


@pytest.mark.parametrize("stack", [Debian], indirect=True, ids=["Debian's"])
def test_it_is_killed_and_started_again(stack: Elsewhere, user: str) -> None:
    servers = stack.servers
    assert isinstance(servers, Debian)
    with stack.listen(user, "?since=now", reconnect=True) as source:
        with publishing(stack, user) as acked:
            until(lambda: len(acked) > 50, "traffic")
            servers.kill(servers.port)
            servers.serve(servers.port)
            count = len(acked)
            until(lambda: len(acked) > count + 50, "traffic after that", 30)
        source.wait(lambda each: len(each.messages) >= len(acked), "all that was acknowledged")
        assert source.data == acked
        assert set(source.statuses) == {200}
