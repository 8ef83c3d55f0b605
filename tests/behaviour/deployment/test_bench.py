"""The benchmark measures: its scenarios end, lose nothing on the service, and give the rows of the table."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from bench.plan import QUICK, Figures
from bench.programs.build import build
from bench.rows import rows
from bench.run import Results
from bench.scenarios import SCENARIOS
from tests.support import programs

TINY = replace(QUICK, fanout=50, heard=20, among=50, lines=500, idle=40, idle_seconds=0.1, seconds=0.5, pairs=1)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    programs.need(programs.CC)
    return build(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize(
    ("name", "figure", "count"),
    [
        ("publish", "connections", TINY.heard),
        ("join", "connections", TINY.fanout),
        ("ndjson", "events", TINY.lines),
        ("metrics", "connections", TINY.fanout),
        ("million", "connections", TINY.idle),
    ],
)
def test_a_scenario_measures_the_service(name: str, figure: str, count: int, built: dict[str, Path]) -> None:
    scenario = SCENARIOS[name]
    kind = scenario.servers[0]
    with tempfile.TemporaryDirectory() as folder, kind(built, Path(folder)) as server:
        figures = scenario.measure(server, TINY)  # raises if an event was lost or repeated
        assert server.faults == []
    assert figures[figure] == count
    others: dict[str, list[Figures | None]] = {other.name: [None] for other in scenario.servers}
    assert rows(Results(figures={name: others | {kind.name: [figures]}}))
