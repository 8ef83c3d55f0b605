"""`python -m chaos`: break everything under traffic, and report what users saw."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.programs.child import BenchError
from chaos.faults import FAULTS
from chaos.ledger import Ledger
from chaos.report import rows, table, write_json
from chaos.run import Plan, run
from chaos.schedule import Step, steps, whole
from chaos.stacks.topologies import TOPOLOGIES

RESULTS: Final = Path(__file__).resolve().parent / "results"
SHOWN_NOTES: Final = 20
TABLE_WIDTH: Final = 190  # characters; a smaller window breaks its lines, but not its columns


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seed", type=int, help="Repeats the run that had it.  [default: a new one]", show_default=False)
@click.option("--faults", type=click.IntRange(1), help="Steps.  [default: each alone, each pair, all]")
@click.option("--events", type=click.IntRange(0), default=20_000, help="Acknowledged before the end, at least.")
@click.option("--users", type=click.IntRange(1), default=200)
@click.option("--publishers", type=click.IntRange(1), default=4)
@click.option("--workers", type=click.IntRange(1), default=2)
@click.option("--rate", type=click.FloatRange(1), default=300.0, help="Events a second.")
@click.option("--longest", type=click.FloatRange(0), default=30.0, help="Seconds that a fault may last.")
@click.option("--only", multiple=True, type=click.Choice(list(FAULTS)), help="This fault; may be repeated.")
@click.option(
    "--idle", type=click.IntRange(0), default=10, help="Users with two tabs that heard nothing, in each step."
)
@click.option("--redis", type=click.Choice(list(TOPOLOGIES)), default="single", help="Who replaces whom, if at all.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), default=RESULTS, help="Where to write.")
def main(
    seed: int | None,
    faults: int | None,
    events: int,
    users: int,
    publishers: int,
    workers: int,
    rate: float,
    longest: float,
    only: Sequence[str],
    idle: int,
    redis: str,
    results: Path,
) -> None:
    """Publish to users, break what carries it, and compare what was acknowledged with what each of them saw."""
    console = Console()
    seed = secrets.randbelow(10**6) if seed is None else seed
    console.print(f"seed {seed}", highlight=False)
    plan = Plan(seed, users, publishers, workers, rate, events, longest, idle, redis)
    names = sorted(set(only or TOPOLOGIES[redis].faults))
    if not set(names) <= set(TOPOLOGIES[redis].faults):
        raise click.UsageError(f"--redis {redis} has: {', '.join(TOPOLOGIES[redis].faults)}")
    schedule = steps(seed, names, faults or whole(len(names)))
    try:
        ledger = _run(plan, schedule, results, console)
    except BenchError as error:
        sys.exit(f"chaos: {error}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("chaos: interrupted, nothing is written")
    sys.exit(_report(ledger, plan, results, console))


def _run(plan: Plan, schedule: Sequence[Step], results: Path, console: Console) -> Ledger:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with tempfile.TemporaryDirectory(prefix="pushsvc-chaos-") as folder, Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(schedule))

        def say(what: str, done: int) -> None:
            bar.update(task, completed=done, description=what)
            if not console.is_terminal:  # where no bar is shown before the end
                console.print(f"{time.strftime('%H:%M:%S')} {done}/{len(schedule)} {what}", highlight=False)

        async def interruptible() -> Ledger:
            running = asyncio.current_task()
            assert running is not None
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
            return await run(plan, schedule, Path(folder), say)

        try:
            return asyncio.run(interruptible())
        finally:
            _keep_logs(Path(folder), results)


def _keep_logs(folder: Path, results: Path) -> None:
    """Copy what the service printed, for whoever looks for the cause."""
    kept = results / "logs"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, kept)


def _report(ledger: Ledger, plan: Plan, results: Path, console: Console) -> bool:
    """Print and write the report. Returns whether anything was wrong."""
    found = rows(ledger, loses=TOPOLOGIES[plan.redis].loses)
    Console(width=max(console.width, TABLE_WIDTH)).print(table(found))
    for note, count in ledger.notes.most_common(SHOWN_NOTES):
        console.print(f"[yellow]{count} x {note}", highlight=False)
    write_json(results / "chaos.json", ledger, found, plan)
    console.print(f"{results}/chaos.json, logs/", highlight=False, soft_wrap=True)
    return found[-1].failed


if __name__ == "__main__":
    main()
