"""The results, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson
from rich.table import Table

from chaos.ledger import Chapter, Ledger
from chaos.run import Plan

WRONG: Final = ("lost", "gone", "repeated", "disorder", "foreign", "gaps", "refused")  # each must be 0
ALLOWED: Final = ("gone", "gaps")  # need not be 0 where replication is asynchronous
COUNTS: Final = ("acked", *WRONG, "unanswered", "abandoned", "reconnects", "crossed")
LATE: Final = ("p50", "p99", "max")


class Row:
    """All steps of one name, or all of the run."""

    def __init__(self, name: str, chapters: Sequence[Chapter], loses: bool) -> None:
        self.name = name
        self.times = len(chapters)
        self.counts: dict[str, int] = {each: sum(getattr(chapter, each) for chapter in chapters) for each in COUNTS}
        self.red_seconds = _most([chapter.red_seconds for chapter in chapters])
        self.green_seconds = _most([chapter.green_seconds for chapter in chapters])
        lags = sorted(lag for chapter in chapters for lag in chapter.lags_ms)
        self.deliveries = len(lags)
        self.wrong = {each for each in WRONG if self.counts[each]}
        if loses:
            self.wrong -= set(ALLOWED)
        self.late_ms = {name: _at(lags, share) for name, share in zip(LATE, (0.5, 0.99, 1.0), strict=True)}

    @property
    def failed(self) -> bool:
        return bool(self.wrong)


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _at(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def rows(ledger: Ledger, *, loses: bool) -> list[Row]:
    """A row for each fault, pair of faults and so on, in the order of the schedule; the whole run is last. `loses`: see
    Topology."""
    loses = loses and any(chapter.gone for chapter in ledger.chapters)  # else nobody has to be told of anything
    named: dict[str, list[Chapter]] = {}
    for chapter in ledger.chapters:
        named.setdefault(chapter.name, []).append(chapter)
    return [*(Row(name, chapters, loses) for name, chapters in named.items()), Row("whole run", ledger.chapters, loses)]


def table(found: Sequence[Row]) -> Table:
    shown = Table(title="late: ms from ack to arrival; red, green: s until /readyz was, at most", title_justify="left")
    shown.add_column("", no_wrap=True)
    headings = ("times", "acked", *WRONG, "503", "back", *LATE, "red", "green")
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in found:
        wrong = [f"[red]{row.counts[each]}[/]" if each in row.wrong else _number(row.counts[each]) for each in WRONG]
        counted = [_number(row.counts[each]) for each in ("unanswered", "reconnects")]
        late = [_number(row.late_ms[each]) for each in LATE]
        ready = ["" if each is None else f"{each:.1f}" for each in (row.red_seconds, row.green_seconds)]
        cells = [str(row.times), _number(row.counts["acked"]), *wrong, *counted, *late, *ready]
        shown.add_row(row.name, *cells, end_section=row is found[-2])
    return shown


def _number(value: float) -> str:
    return f"{value:,.0f}"


def write_json(path: Path, ledger: Ledger, found: Sequence[Row], plan: Plan) -> None:
    machine = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    content = {
        "machine": machine,
        "plan": asdict(plan),
        "notes": dict(ledger.notes),
        "rows": [_plain(row) for row in found],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))


def _plain(row: Row) -> dict[str, Any]:
    late = {f"{name}_ms": round(value, 1) for name, value in row.late_ms.items()}
    return {
        "name": row.name, "times": row.times, **row.counts, "deliveries": row.deliveries, **late,
        "red_seconds": row.red_seconds, "green_seconds": row.green_seconds,
    }  # fmt: skip
