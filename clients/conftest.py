from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clients.report import table
from clients.report.rows import ROWS, World
from clients.site.scene import Outcome
from clients.site.scene import play as play_scene


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    running = World(tmp_path_factory.mktemp("world"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def play(world: World, request: pytest.FixtureRequest) -> Callable[[str, str], dict[str, Outcome]]:
    """Plays a column with those clients of a group whose cells are asked for; once, however many cells look at it."""
    params: list[dict[str, Any]] = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {(given["row"].name, given["column"]) for given in params if "row" in given}

    @functools.cache
    def player(group: str, column: str) -> dict[str, Outcome]:
        return play_scene(world, [row for row in ROWS if row.group == group and (row.name, column) in wanted], column)

    return player


class Table:
    """Gathers what the tests say of their cells, and writes it into the page when none was left out or skipped."""

    def __init__(self) -> None:
        self._cells: table.Cells = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties = dict(report.user_properties)
        if report.when == "call" and "cell" in properties and not report.skipped:
            where: list[str] = properties["cell"]  # type: ignore[assignment]
            self._cells[where[0], where[1], where[2]] = str(properties["mark"]) if report.passed else "✗"

    def pytest_sessionfinish(self) -> None:
        table.write(self._cells)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # with several processes, the one that hears of all tests
        config.pluginmanager.register(Table())
