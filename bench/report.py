"""The results, as a table and as JSON."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.table import Table

from bench.plan import Plan
from bench.rows import Row, number
from bench.run import Results


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
