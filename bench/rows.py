"""The rows of the table, and how they follow from the figures that were measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench.run import Results


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, with its value in every round. The target is a median of at most `limit`, below it if `strictly`, or
    at least that if `at_least`."""

    name: str
    values: Sequence[float]
    unit: str
    limit: float | None = None
    strictly: bool = False
    at_least: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        sign = "≥" if self.at_least else "<" if self.strictly else "≤"
        return "" if self.limit is None else f"{sign} {number(self.limit)} {self.unit}".strip()

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        if self.at_least:
            return self.median >= self.limit
        return self.median < self.limit or (self.median == self.limit and not self.strictly)


def rows(results: Results) -> list[Row]:
    """The rows for which something was measured."""
    parts = (_publish, _ndjson, _join, _costs, _memory, _latencies, _storm, _proxied, _tokens, _million)
    found = [row for part in parts for row in part(results)]
    return [row for row in found if row.values]


SOCKETS = "pushsvc, WebSocket"
NCHAN, BETTER = "nchan+redis", "better-sse+redis"


def _publish(results: Results) -> list[Row]:
    def beside(figure: str, other: str) -> list[float]:
        return ratio(results, "publish", figure, "pushsvc", other)

    def given(figure: str, server: str = "pushsvc") -> list[float]:
        return _given(results, "publish", server, figure)

    return [
        Row("POST to one listener, CPU", given("cpu_us"), "µs"),
        Row("  / nchan + Redis", beside("cpu_us", NCHAN), "x", 1.15),
        Row("  / better-sse + Redis", beside("cpu_us", BETTER), "x", 0.85),
        Row("  / a no-op POST of Flask", beside("cpu_us", "flask, no-op"), "x", 0.45),
        Row("  events a second", given("per_second"), "/s"),
        Row("    / nchan + Redis", beside("per_second", NCHAN), "x"),
        Row("    / better-sse + Redis", beside("per_second", BETTER), "x"),
        Row("  a hundred in each POST, CPU", given("batch_cpu_us"), "µs", 15),
        Row("    / better-sse + Redis", beside("batch_cpu_us", BETTER), "x"),
        Row("  among many, latency p50", given("p50_ms"), "ms", 0.6),
        Row("    p99", given("p99_ms"), "ms", 2),
        Row("    nchan + Redis p50", given("p50_ms", NCHAN), "ms"),
        Row("    p99", given("p99_ms", NCHAN), "ms"),
        Row("    better-sse + Redis p50", given("p50_ms", BETTER), "ms"),
        Row("    p99", given("p99_ms", BETTER), "ms"),
        Row("  among many, memory of each", given("memory"), "B"),
        Row("    nchan + Redis", given("memory", NCHAN), "B"),
        Row("    better-sse + Redis", given("memory", BETTER), "B"),
    ]


def _ndjson(results: Results) -> list[Row]:
    def given(figure: str) -> list[float]:
        return _given(results, "ndjson", "pushsvc", figure)

    return [
        Row("Stream of events (NDJSON), CPU", given("cpu_us"), "µs", 25),
        Row("  of which in Valkey", given("valkey_cpu_us"), "µs"),
        Row("  events a second", given("per_second"), "/s"),
        Row("  growth of the worker's memory", [growth / 2**20 for growth in given("growth")], "MiB", 2),
    ]


def _join(results: Results) -> list[Row]:
    def beside(figure: str, other: str) -> list[float]:
        return ratio(results, "join", figure, "pushsvc", other)

    return [
        Row("Connects a second", _given(results, "join", "pushsvc", "connects_per_second"), "/s"),
        Row("  / nchan + Redis", beside("connects_per_second", NCHAN), "x", 0.25, at_least=True),
        Row("  / better-sse + Redis", beside("connects_per_second", BETTER), "x", 1.2, at_least=True),
        Row("  / floor's", beside("connects_per_second", "floor"), "x"),
        Row("  CPU of each", _given(results, "join", "pushsvc", "connect_cpu_us"), "µs"),
        Row("    / better-sse + Redis", beside("connect_cpu_us", BETTER), "x"),
    ]


def _costs(results: Results) -> list[Row]:
    ours, floor = "pushsvc", "floor"

    def beside(figure: str, other: str) -> list[float]:
        return ratio(results, "telemetry", figure, other, ours)

    return [
        Row("CPU per delivery / floor's", ratio(results, "fanout", "cpu_us", ours, floor), "x", 1.25),
        Row("  ten at once / floor's ten", ratio(results, "fanout", "batch_cpu_us", ours, floor), "x", 1.0, True),
        Row("  nchan / floor", ratio(results, "fanout", "cpu_us", "nchan", floor), "x"),
        Row("  flask-sse / floor", ratio(results, "fanout", "cpu_us", "flask-sse", floor), "x"),
        Row("  by WebSocket / by a stream", ratio(results, "fanout", "cpu_us", SOCKETS, ours), "x", 1.25),
        Row("  ours, many / few connections", growth(results, ours), "x", 1.2),
        Row("  the floor's own many / few", growth(results, floor), "x"),
        Row("  with metrics / without", _given(results, "metrics", "pushsvc, switched", "ratio"), "x", 1.02),
        Row("    ten at once", _given(results, "metrics", "pushsvc, switched", "batch_ratio"), "x", 1.02),
        Row("  with all log lines / without", beside("delivery_cpu_us", "pushsvc, logged"), "x"),
        Row("    of a POST to one listener", beside("cpu_us", "pushsvc, logged"), "x"),
        Row("  with spans / without", beside("delivery_cpu_us", "pushsvc, traced"), "x"),
        Row("    of a POST to one listener", beside("cpu_us", "pushsvc, traced"), "x"),
        Row("  with many / floor with many", ratio(results, "size", "many_cpu_us", ours, floor), "x"),
    ]


def _memory(results: Results) -> list[Row]:
    memory = [
        Row(f"Idle memory, {server}", _given(results, "size", server, "memory"), "B", limit)
        for server, limit in (("pushsvc", 1024), (SOCKETS, 1200), ("floor", None), ("nchan", None), ("flask-sse", None))
    ]
    own = Row("  pushsvc, each another user", _given(results, "storm", "pushsvc", "own_users_memory"), "B", 1024)
    return [memory[0], own, *memory[1:]]


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
        Row("  until all have caught up", given("storm_seconds"), "s", 3),
        Row("  live users meanwhile p50", given("live_p50_ms"), "ms"),
        Row("  live users meanwhile p99", given("live_p99_ms"), "ms", 100, True),
        Row("  their publishes refused", given("live_refused"), ""),
        Row("  XRANGE calls", given("redis_xrange"), ""),
    ]


def _proxied(results: Results) -> list[Row]:
    ours, floor = "pushsvc+nginx", "floor+nginx"
    return [
        Row("Through nginx, pushsvc / floor", ratio(results, "nginx", "cpu_us", ours, floor), "x", 1.15),
        Row("  nginx memory per stream", _given(results, "nginx", ours, "nginx_memory"), "B", 10240, True),
    ]


_TOKEN_CPU = (("pushsvc", "cpu_us"), ("pushsvc", "valkey_cpu_us"), ("litellm", "cpu_us"))


def _tokens(results: Results) -> list[Row]:
    def given(name: str, server: str = "pushsvc") -> list[float]:
        return _given(results, "tokens", server, name)

    wrong = zip(given("lost"), given("repeated"), strict=True)
    turns = zip(*(results.values("tokens", *each) for each in _TOKEN_CPU), strict=True)
    beside = [(worker + valkey) / other for worker, valkey, other in turns if worker and valkey and other]
    return [
        Row("Token, added latency p50", difference(results, "tokens", "p50_ms", "pushsvc", "direct"), "ms", 2, True),
        Row("  added latency p99", difference(results, "tokens", "p99_ms", "pushsvc", "direct"), "ms", 10, True),
        Row("  from the model itself p99", given("p99_ms", "direct"), "ms"),
        Row("  lost, repeated", [sum(turn) for turn in wrong], "", 0),
        Row("  CPU in the worker", given("cpu_us"), "µs", 60),
        Row("  CPU in Valkey", given("valkey_cpu_us"), "µs"),
        Row("  CPU in LiteLLM's proxy", given("cpu_us", "litellm"), "µs"),
        Row("  CPU in worker and Valkey / LiteLLM's", beside, "x", 0.2),
        Row("Memory per answer that waits", given("memory", "pushsvc, pauses"), "B", 2048, True),
        Row("  without a response's head yet", given("memory", "pushsvc, silent"), "B"),
    ]


def _million(results: Results) -> list[Row]:
    """The last rows assume that what grows with the connections goes on growing at the same rate."""

    def given(figure: str) -> list[float]:
        return _given(results, "million", "pushsvc, many", figure)

    def more(figure: str, unit: float = 1) -> list[float]:
        return [value * 1e6 / many / unit for value, many in zip(given(figure), given("connections"), strict=True)]

    return [
        Row("Idle connections", given("connections"), ""),
        Row("  in workers", given("workers"), ""),
        Row("  connected within", given("connect_seconds"), "s"),
        Row("  memory of each, workers", given("worker_memory"), "B"),
        Row("  memory of each, Valkey", given("valkey_memory"), "B"),
        Row("    together", given("memory"), "B", 1024),
        Row("  a worker without any", [bare / 2**20 for bare in given("bare_memory")], "MiB"),
        Row("  kernel's memory, both ends", given("kernel_memory"), "B"),
        Row("  CPU of each in a second", given("cpu_us"), "µs", 0.5),
        Row("  one event to all", given("all_seconds"), "s"),
        Row("  one to each of 1000", given("ones_seconds"), "s"),
        Row("  a million: memory", [value * 1e6 / 2**30 for value in given("memory")], "GiB"),
        Row("    the kernel's, both ends", [value * 1e6 / 2**30 for value in given("kernel_memory")], "GiB"),
        Row("    cores, idle", given("cpu_us"), ""),
        Row("    connected within", more("connect_seconds", 60), "min"),
        Row("    one event to all", more("all_seconds"), "s"),
    ]


def ratio(results: Results, scenario: str, figure: str, ours: str, other: str) -> list[float]:
    """The figure of `ours` divided by that of `other`, for each round in which both have it."""
    both = zip(results.values(scenario, ours, figure), results.values(scenario, other, figure), strict=True)
    return [mine / theirs for mine, theirs in both if mine is not None and theirs]


def difference(results: Results, scenario: str, figure: str, ours: str, other: str) -> list[float]:
    """The figure of `ours` less that of `other`, for each round in which both have it."""
    both = zip(results.values(scenario, ours, figure), results.values(scenario, other, figure), strict=True)
    return [mine - theirs for mine, theirs in both if mine is not None and theirs is not None]


def growth(results: Results, server: str) -> list[float]:
    """The cost of a delivery to many, divided by that of one to few, for each round."""
    both = zip(results.values("size", server, "many_cpu_us"), results.values("size", server, "few_cpu_us"), strict=True)
    return [many / few for many, few in both if many is not None and few]


def _given(results: Results, scenario: str, server: str, figure: str) -> list[float]:
    return [value for value in results.values(scenario, server, figure) if value is not None]


def number(value: float) -> str:
    """The value with as many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
