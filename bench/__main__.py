"""`python -m bench`: run the scenarios, and report the figures."""

from __future__ import annotations

import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.picture import draw, draw_others
from bench.plan import QUICK, Plan
from bench.programs.build import build
from bench.programs.child import BenchError
from bench.report import table, write_json
from bench.rows import rows
from bench.run import Results, run, turns
from bench.scenarios import SCENARIOS
from pushsvc.server.rlimit import raise_descriptor_limit

RESULTS: Final = Path(__file__).resolve().parent / "results"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", type=click.IntRange(1, 100), help="How often every server has its turn.  [default: 5]")
@click.option("--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="This scenario; may be repeated.")
@click.option("--connections", type=click.IntRange(2), help="How many for `million`.  [default: 200000]")
@click.option("--quick", is_flag=True, help="Small and short: whether it works, not what it costs.")
def main(rounds: int | None, only: Sequence[str], connections: int | None, quick: bool) -> None:
    """Measure the service against the floor, and against others where they are installed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped on the way out
    console = Console()
    raise_descriptor_limit()
    whole = QUICK if quick else Plan()
    whole = replace(whole, idle=connections or whole.idle)
    plan = (replace(whole, rounds=rounds) if rounds else whole).within(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    if replace(plan, rounds=whole.rounds) != whole:
        console.print("[yellow]Fewer connections than usual: a process may open too few files (ulimit -Hn).")
    usual = [name for name, scenario in SCENARIOS.items() if not scenario.once]
    try:
        results = _run_all(only or usual, plan, console)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit("bench: interrupted, nothing is written")
    _report(results, plan, console)
    sys.exit(results.failed)


def _run_all(names: Sequence[str], plan: Plan, console: Console) -> Results:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with tempfile.TemporaryDirectory(prefix="pushsvc-bench-") as folder, Progress(*columns, console=console) as bar:
        programs = build(Path(folder))
        task = bar.add_task("", total=turns(names, plan), completed=-1)

        def progress(what: str) -> None:
            bar.update(task, advance=1, description=what)

        results = run(names, plan, programs, progress)
        bar.update(task, advance=1, description="")
    return results


def _report(results: Results, plan: Plan, console: Console) -> None:
    found = rows(results)
    console.print(table(found))
    for note in results.notes:
        console.print(f"[yellow]{note}", highlight=False)
    write_json(RESULTS / "bench.json", results, found, plan)
    draw(RESULTS / "bench.png", results, plan, found)
    draw_others(RESULTS / "others.png", results, plan)
    console.print(f"{RESULTS}/bench.json, bench.png, others.png", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
