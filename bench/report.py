"""What came out, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from rich.table import Table

from bench.plan import Plan
from bench.run import Results


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of every round. `limit`: the median may be so much, and just that unless `strictly` below."""

    name: str
    values: Sequence[float]
    unit: str
    limit: float | None = None
    strictly: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        return "" if self.limit is None else f"{'<' if self.strictly else '≤'} {number(self.limit)} {self.unit}".strip()

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        return self.median < self.limit or (self.median == self.limit and not self.strictly)


def rows(results: Results) -> list[Row]:
    """Those for which something was measured."""
    found = [*_costs(results), *_connections(results), *_latencies(results), *_storm(results), *_proxied(results)]
    found += _tokens(results)
    return [row for row in found if row.values]


def _costs(results: Results) -> list[Row]:
    ours, floor = "pushsvc", "floor"
    return [
        Row("CPU per delivery / floor's", ratio(results, "fanout", "cpu_us", ours, floor), "x", 1.25),
        Row("  ten at once / floor's ten", ratio(results, "fanout", "batch_cpu_us", ours, floor), "x", 1.0, True),
        Row("  nchan / floor", ratio(results, "fanout", "cpu_us", "nchan", floor), "x"),
        Row("  flask-sse / floor", ratio(results, "fanout", "cpu_us", "flask-sse", floor), "x"),
        Row("  ours, many / few connections", growth(results, ours), "x", 1.2),
        Row("  the floor's own many / few", growth(results, floor), "x"),
        Row("  with many / floor with many", ratio(results, "size", "many_cpu_us", ours, floor), "x"),
    ]


def _connections(results: Results) -> list[Row]:
    memory = [
        Row(f"Idle memory, {server}", _given(results, "size", server, "memory"), "B", limit)
        for server, limit in (("pushsvc", 1024), ("floor", None), ("nchan", None), ("flask-sse", None))
    ]
    own = Row("  pushsvc, each another user", _given(results, "storm", "pushsvc", "own_users_memory"), "B", 1024)
    return [
        memory[0],
        own,
        *memory[1:],
        Row("Connects a second", _given(results, "fanout", "pushsvc", "connects_per_second"), "/s"),
        Row("  / floor's", ratio(results, "fanout", "connects_per_second", "pushsvc", "floor"), "x"),
    ]


def _latencies(results: Results) -> list[Row]:
    return [
        Row(f"Latency {name[:3]}, {server}", _given(results, "latency", server, name), "ms")
        for server in ("pushsvc", "floor", "nchan", "flask-sse")
        for name in ("p50_ms", "p99_ms")
    ]


def _storm(results: Results) -> list[Row]:
    def given(name: str) -> list[float]:
        return _given(results, "storm", "pushsvc", name)

    names = ("storm_lost", "storm_repeated", "storm_disorder", "storm_failed", "live_wrong")
    wrong = [given(name) for name in names]
    return [
        Row("Storm: lost, repeated, disorder", [sum(turn) for turn in zip(*wrong, strict=True)], "", 0),
        Row("  until all have caught up", given("storm_seconds"), "s"),
        Row("  live users meanwhile p50", given("live_p50_ms"), "ms"),
        Row("  live users meanwhile p99", given("live_p99_ms"), "ms", 250, True),
        Row("  their publishes refused", given("live_refused"), ""),
        Row("  XRANGE calls", given("redis_xrange"), ""),
    ]


def _proxied(results: Results) -> list[Row]:
    ours, floor = "pushsvc+nginx", "floor+nginx"
    return [
        Row("Through nginx, pushsvc / floor", ratio(results, "nginx", "cpu_us", ours, floor), "x", 1.15),
        Row("  nginx memory per stream", _given(results, "nginx", ours, "nginx_memory"), "B", 10240, True),
    ]


def _tokens(results: Results) -> list[Row]:
    def given(name: str, server: str = "pushsvc") -> list[float]:
        return _given(results, "tokens", server, name)

    wrong = zip(given("lost"), given("repeated"), strict=True)
    return [
        Row("Token, added latency p50", difference(results, "tokens", "p50_ms", "pushsvc", "direct"), "ms", 2, True),
        Row("  added latency p99", difference(results, "tokens", "p99_ms", "pushsvc", "direct"), "ms", 10, True),
        Row("  from the model itself p99", given("p99_ms", "direct"), "ms"),
        Row("  lost, repeated", [sum(turn) for turn in wrong], "", 0),
        Row("  CPU in the worker", given("cpu_us"), "µs", 60),
        Row("  CPU in Valkey", given("valkey_cpu_us"), "µs"),
        Row("Memory per answer that waits", given("memory", "pushsvc, pauses"), "B", 2048, True),
        Row("  without a response's head yet", given("memory", "pushsvc, silent"), "B"),
    ]


def ratio(results: Results, scenario: str, figure: str, ours: str, other: str) -> list[float]:
    """Round by round, where both have the figure."""
    both = zip(results.values(scenario, ours, figure), results.values(scenario, other, figure), strict=True)
    return [mine / theirs for mine, theirs in both if mine is not None and theirs]


def difference(results: Results, scenario: str, figure: str, ours: str, other: str) -> list[float]:
    """As ratio."""
    both = zip(results.values(scenario, ours, figure), results.values(scenario, other, figure), strict=True)
    return [mine - theirs for mine, theirs in both if mine is not None and theirs is not None]


def growth(results: Results, server: str) -> list[float]:
    """What a delivery to many costs, beside one to few."""
    both = zip(results.values("size", server, "many_cpu_us"), results.values("size", server, "few_cpu_us"), strict=True)
    return [many / few for many, few in both if many is not None and few]


def _given(results: Results, scenario: str, server: str, figure: str) -> list[float]:
    return [value for value in results.values(scenario, server, figure) if value is not None]


def table(found: Sequence[Row]) -> Table:
    shown = Table(title="median of the rounds (least to most)", title_justify="left")
    shown.add_column("")
    for heading in ("median", "range", "target"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in found:
        mark = {None: "", True: "[green]", False: "[red]"}[row.met]
        spread = f"{number(min(row.values))} … {number(max(row.values))}"
        verdict = {None: "", True: " ✓", False: " ✗"}[row.met]
        shown.add_row(row.name, f"{mark}{number(row.median)} {row.unit}", spread, f"{mark}{row.target}{verdict}")
    return shown


def number(value: float) -> str:
    """As many digits as say something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def write_json(path: Path, results: Results, found: Sequence[Row], plan: Plan) -> None:
    summary = [
        {"name": row.name.strip(), "unit": row.unit, "median": row.median, "min": min(row.values),
         "max": max(row.values), "target": row.target, "met": row.met}
        for row in found
    ]  # fmt: skip
    machine = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    content = {"machine": machine, "plan": asdict(plan), "notes": results.notes, "summary": summary}
    path.write_bytes(orjson.dumps(content | {"rounds": results.figures}, option=orjson.OPT_INDENT_2))
