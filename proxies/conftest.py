from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxies.support import table
from tests.conftest import browser as browser
from tests.support.ports import free_port
from tests.support.redis.servers import Servers
from tests.support.stack import Stack

PATH = "/push"  # under which browsers find the services of the pair that no test breaks
_numbers = itertools.count()


@dataclass
class Pair:
    """Two services on one Redis."""

    one: Stack
    two: Stack

    @property
    def ports(self) -> tuple[int, int]:
        """The ports of their workers."""
        return self._of("app")

    @property
    def fronts(self) -> tuple[int, int]:
        """The ports of their nginx."""
        return self._of("http")

    def _of(self, setting: str) -> tuple[int, int]:
        first, second = (int(str(each.settings[setting]).rpartition(":")[2]) for each in (self.one, self.two))
        return first, second

    def stop(self) -> None:
        for each in (self.one, self.two):
            each.stop()


def make_pair(folder: Path, port: int, **settings: object) -> Pair:
    """Start two services. `port`: where their Redis listens."""
    redis_url = f"redis://127.0.0.1:{port}"
    one, two = (
        Stack(folder / name, redis_url=redis_url, workers=1, max_connections_per_user=100, **settings)
        for name in ("one", "two")
    )
    return Pair(one, two)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair that no test breaks."""
    yield from _pair(tmp_path_factory.mktemp("pair"), public_url=f"https://push.example.com{PATH}")


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[Pair]:
    """A pair of the test's own, which it may break."""
    yield from _pair(tmp_path)


def _pair(folder: Path, **settings: object) -> Iterator[Pair]:
    servers = Servers(folder / "redis")
    servers.serve(port := free_port())
    running = make_pair(folder, port, **settings)
    yield running
    running.stop()
    servers.stop()


@pytest.fixture
def user() -> str:
    return f"user{next(_numbers)}"


class _Table:
    """Gathers what the tests saw, and writes it into the page when none was left out or skipped."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: dict[str, Any] = dict(report.user_properties)
        if report.when == "call" and report.passed and "cell" in properties:
            name, what = properties.pop("cell")
            self._cells[name, what] |= properties

    def pytest_sessionfinish(self) -> None:
        table.write(self._cells)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # with several processes, the one that hears of all tests
        config.pluginmanager.register(_Table())
