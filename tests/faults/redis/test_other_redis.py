"""The same behaviour with a Redis that is not the embedded one, alone and behind sentinels, with a prefix and under the
least rights that docs/redis.md gives. `make servers` runs it with all that matrix.py knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support import behaviour
from tests.support.clients.eventsource import until
from tests.support.clients.traffic import publishing
from tests.support.models.model import Model
from tests.support.redis import accounts, matrix
from tests.support.redis.servers import Alone, Replicated
from tests.support.stack import Stack

globals().update(behaviour.marked("every_redis"))  # run with the `stack` of this module

ALONE = [(product, Alone) for product in matrix.chosen("Debian's Redis")]
BEHIND_SENTINELS = [(product, Replicated) for product in matrix.chosen("Valkey 9")]
NAMES = {Alone: matrix.ALONE, Replicated: matrix.BEHIND_SENTINELS}


def named(param: tuple[str, type[Alone] | type[Replicated]]) -> str:
    return matrix.cell(param[0], NAMES[param[1]])


class Elsewhere(Stack):
    """A stack whose data is not in its own folder."""

    def __init__(self, servers: Alone | Replicated, folder: Path, **settings: object) -> None:
        self.servers = servers
        url = accounts.of_account(servers.url)
        super().__init__(folder, redis_url=url, redis_prefix=accounts.PREFIX, **settings)

    @property
    def redis(self) -> redis.Redis:
        """Redis as the operator sees it, who may do all."""
        return self.servers.redis


@pytest.fixture(scope="module", params=[*ALONE, *BEHIND_SENTINELS], ids=named)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _model: Model
) -> Iterator[Elsewhere]:
    product, shape = request.param
    account = ("--user", accounts.USER, *accounts.least())
    servers = shape(tmp_path_factory.mktemp("servers"), *account, binary=matrix.binary(product))
    running = Elsewhere(servers, tmp_path_factory.mktemp("stack"), **behaviour.settings(_model))
    yield running
    running.stop()
    servers.stop()
    assert "Traceback" not in running.output, running.output
    assert "NOPERM" not in running.output, running.output


@pytest.mark.parametrize("stack", ALONE, indirect=True, ids=named)
def test_it_is_killed_and_started_again(stack: Elsewhere, user: str) -> None:
    servers = stack.servers
    assert isinstance(servers, Alone)
    servers.redis.config_set("appendfsync", "always")  # a slow disk has `everysec` put writes off
    with stack.listen(user, "?since=now", reconnect=True) as source:
        with publishing(stack, user) as acked:
            until(lambda: len(acked) > 50, "traffic")
            servers.kill(servers.port)
            servers.revive()
            count = len(acked)
            until(lambda: len(acked) > count + 50, "traffic after that")
        source.wait(lambda each: len(each.messages) >= len(acked), "all that was acknowledged")
        assert source.data == acked
        assert set(source.statuses) == {200}
