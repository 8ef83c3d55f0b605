"""The results as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")  # no screen
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from bench.plan import Plan
from bench.rows import Row, number, ratio
from bench.run import Results

OURS, FLOOR, OTHER, TARGET = "#2563eb", "#9ca3af", "#d6a35c", "#dc2626"
_COLOURS: Final = {"pushsvc": OURS, "floor": FLOOR}
_SERVERS: Final = ("floor", "pushsvc", "nchan", "flask-sse")
_OTHERS: Final = ("pushsvc", "nchan+redis", "better-sse+redis", "flask, no-op")

Bar = tuple[str, Sequence[float], str]  # label, the figure of each round, colour


def draw(path: Path, results: Results, plan: Plan, found: Sequence[Row]) -> None:
    figure, axes = _begin("pushsvc: what it costs, beside what the kernel alone costs")
    _bars(axes[0][0], _cpu(results), f"CPU per delivery, floor = 1\n{plan.fanout} connections", "x", 1.25)
    _bars(axes[0][1], _memory(results), f"Memory per idle connection\n{plan.many} connections", "B", 1024)
    title = f"Publish to event read, ms: p50 and (lighter) p99\n{plan.latency} connections, 10 events a second to each"
    _latency(axes[1][0], results, "latency", _SERVERS, title)
    _targets(axes[1][1], [row for row in found if row.limit and not row.at_least])
    _end(figure, path, f"{_note(plan)}; flask-sse is given less load (README.md)")


def draw_others(path: Path, results: Results, plan: Plan) -> None:
    """Draw the service beside the servers that people would take instead."""
    figure, axes = _begin("pushsvc beside others: each listener is another user, each event for one of them")
    title = "CPU of one POST to one listener, µs\n32 publishers; processes of the store included"
    _bars(axes[0][0], _figure(results, "publish", "cpu_us"), title, "µs")
    title = f"Connects a second\n{plan.fanout} connections; more is better"
    _bars(axes[0][1], _figure(results, "join", "connects_per_second"), title, "/s")
    title = f"Publish to event read, ms: p50 and (lighter) p99\n300 events a second, {plan.among} listeners"
    _latency(axes[1][0], results, "publish", _OTHERS, title)
    title = f"Memory per idle connection\n{plan.among} connections; processes of the store included"
    _bars(axes[1][1], _figure(results, "publish", "memory"), title, "B")
    kept = "pushsvc and nchan keep events for who comes later, better-sse keeps none; pushsvc alone checks tokens"
    _end(figure, path, f"{_note(plan)}\n{kept}")


def _begin(title: str) -> tuple[Figure, Any]:
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
    figure.suptitle(title, fontsize=15, fontweight="bold")
    return figure, axes


def _note(plan: Plan) -> str:
    return f"bars: median of the rounds ({plan.rounds}), lines: least to most"


def _end(figure: Figure, path: Path, note: str) -> None:
    figure.supxlabel(note, fontsize=9, color="#6b7280")
    figure.savefig(path, dpi=140)
    plt.close(figure)


def _figure(results: Results, scenario: str, name: str) -> list[Bar]:
    """One figure as bars, one for each server that is compared."""
    return [
        (_label(server), _known(results.values(scenario, server, name)), _COLOURS.get(server, OTHER))
        for server in _OTHERS
    ]


def _label(server: str) -> str:
    return server.replace("+redis", "\n+ Redis")


def _cpu(results: Results) -> list[Bar]:
    bars: list[Bar] = [
        (server, ratio(results, "fanout", "cpu_us", server, "floor"), _COLOURS.get(server, OTHER))
        for server in _SERVERS
    ]
    bars.insert(2, ("pushsvc,\nten at once", ratio(results, "fanout", "batch_cpu_us", "pushsvc", "floor"), OURS))
    return bars


def _memory(results: Results) -> list[Bar]:
    bars: list[Bar] = [
        (server, _known(results.values("size", server, "memory")), _COLOURS.get(server, OTHER)) for server in _SERVERS
    ]
    own = _known(results.values("storm", "pushsvc", "own_users_memory"))
    bars.insert(2, ("pushsvc,\nown users", own, OURS))
    return bars


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _bars(axes: Axes, bars: Sequence[Bar], title: str, unit: str, target: float | None = None) -> None:
    bars = [bar for bar in bars if bar[1]]
    for place, (_, values, colour) in enumerate(bars):
        median = statistics.median(values)
        axes.bar(place, median, 0.62, color=colour)
        axes.vlines(place, min(values), max(values), color="#111827", linewidth=1)
        axes.annotate(f"{number(median)} {unit}", (place, max(values)), (0, 4), textcoords="offset points", ha="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    _finish(axes, [bar[0] for bar in bars], title, [max(bar[1]) for bar in bars], [min(bar[1]) for bar in bars])
    if target is not None and bars:
        axes.axhline(target, color=TARGET, linestyle="--", linewidth=1, zorder=0)
        axes.annotate(f"target\n{number(target)} {unit}", (1, target), (2, 0), xycoords=("axes fraction", "data"),
                      textcoords="offset points", va="center", color=TARGET)  # fmt: skip


def _targets(axes: Axes, found: Sequence[Row]) -> None:
    """Draw each figure that has a target, as a share of the target."""
    for place, row in enumerate(found):
        limit = row.limit or 1
        axes.barh(place, row.median / limit, 0.62, color=OURS if row.met else TARGET)
        axes.hlines(place, min(row.values) / limit, max(row.values) / limit, color="#111827", linewidth=1)
        axes.annotate(f"{number(row.median)} {row.unit}", (max(row.values) / limit, place), (4, 0),
                      textcoords="offset points", va="center")  # fmt: skip
    axes.axvline(1, color=TARGET, linestyle="--", linewidth=1)
    axes.set_title("Beside the targets: left of the line is met", loc="left", fontsize=11)
    axes.set_yticks(range(len(found)), [f"{row.name.strip()}\n{row.target}" for row in found], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.2)


def _latency(axes: Axes, results: Results, scenario: str, servers: Sequence[str], title: str) -> None:
    labels: list[str] = []
    high: list[float] = []
    low: list[float] = []
    for server in servers:
        p50, p99 = (_known(results.values(scenario, server, name)) for name in ("p50_ms", "p99_ms"))
        if not p50:
            continue
        for offset, values, alpha in ((-0.2, p50, 1.0), (0.2, p99, 0.55)):
            place, median = len(labels) + offset, statistics.median(values)
            axes.bar(place, median, 0.36, color=_COLOURS.get(server, OTHER), alpha=alpha)
            axes.vlines(place, min(values), max(values), color="#111827", linewidth=1)
            axes.annotate(number(median), (place, max(values)), (0, 4), textcoords="offset points", ha="center")
        labels.append(_label(server))
        high.append(max(p99))
        low.append(min(p50))
    _finish(axes, labels, title, high, low)


def _finish(axes: Axes, labels: Sequence[str], title: str, high: Sequence[float], low: Sequence[float]) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    if not labels:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes, color="#6b7280")
        axes.set_axis_off()
        return
    axes.set_xticks(range(len(labels)), labels)
    if max(high) > 20 * max(min(low), 1e-9):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.set_ylabel("logarithmic scale", fontsize=8, color="#6b7280")
    axes.margins(y=0.15)
