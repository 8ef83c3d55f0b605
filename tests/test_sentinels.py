"""Redis behind sentinels: whoever is the master, nothing is lost that was acknowledged."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.eventsource import until
from tests.replicated import Replicated
from tests.stack import Stack
from tests.test_faults import publishing


@pytest.fixture
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    servers = Replicated(tmp_path_factory.mktemp("replicated"))
    yield servers
    servers.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_another_becomes_the_master(
    replicated: Replicated, tmp_path_factory: pytest.TempPathFactory, user: str, number: signal.Signals
) -> None:
    stack = Stack(tmp_path_factory.mktemp("stack"), redis_url=replicated.url)
    try:
        with stack.listen(user, reconnect=True) as source:
            with publishing(stack, user) as acked:
                until(lambda: len(acked) > 50, "traffic")
                first = replicated.master
                replicated.signal(first, number)
                until(lambda: replicated.master != first, "another master", 30)
                count = len(acked)
                until(lambda: len(acked) > count + 50, "traffic by the new master", 30)
            source.wait(lambda each: len(each.messages) >= len(acked), "all that was acknowledged")
            assert source.data == acked
            assert set(source.statuses) == {200}
    finally:
        stack.stop()
