"""`python -m chaos.away`: Redis loses its last events while nobody listens, and every user who comes later is told.

Only the receipts show that the lost events ever existed: no page is open, and they were acknowledged at most a tenth of
a second before the loss.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import orjson
from rich.console import Console
from rich.table import Table

from bench.programs.child import BenchError
from chaos.ledger import Ledger
from chaos.stacks.stack import Stack
from chaos.traffic.absent import Absent, Return, absentees, first_id
from chaos.traffic.publishers import Channels, Publisher
from chaos.traffic.readiness import Readiness

RESULTS: Final = Path(__file__).resolve().parent / "results"
USERS: Final = 12  # of each round
BURST_SECONDS: Final = 0.1  # the longest pause between the acknowledgement of what is lost and the loss
KEPT_SECONDS: Final = 1.2  # the longest pause before what is lost is published
SHOWN_NOTES: Final = 20


@dataclass
class Outcome:
    """The outcome of the rounds of one name. `told` and `silent` count events that are gone, once for each user."""

    rounds: int = 0
    owed: int = 0
    told: int = 0
    silent: int = 0
    false: int = 0  # gaps where nothing was lost


@dataclass
class Play:
    """One run."""

    stack: Stack
    ledger: Ledger
    data: Path  # Redis's
    chance: random.Random
    outcomes: dict[str, Outcome] = field(default_factory=dict)


Loss = Callable[[Play, Callable[[], Awaitable[None]]], Awaitable[None]]


async def _cut(play: Play, burst: Callable[[], Awaitable[None]]) -> None:
    """Cut off the end of the append-only file, as a power cut does with `appendfsync everysec`."""
    sizes = {path: path.stat().st_size for path in (play.data / "appendonlydir").glob("*.incr.aof")}
    await burst()
    await play.stack.kill_redis()
    for path, size in sizes.items():
        if path.exists() and path.stat().st_size > size:
            with path.open("r+b") as file:
                file.truncate(size)


async def _restore(play: Play, burst: Callable[[], Awaitable[None]]) -> None:
    """Put an older copy of the data back."""
    copy = play.data.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(play.data, copy, ignore=shutil.ignore_patterns("*.sock"))
    await burst()
    await play.stack.kill_redis()
    shutil.rmtree(play.data / "appendonlydir")
    shutil.copytree(copy, play.data, dirs_exist_ok=True)


async def _flush(play: Play, burst: Callable[[], Awaitable[None]]) -> None:
    """Delete all data with FLUSHALL; no connection breaks."""
    await burst()
    await asyncio.to_thread(play.stack.redis.flushall)


async def _kill(play: Play, burst: Callable[[], Awaitable[None]]) -> None:
    """Kill Redis, which loses nothing as the machine goes on: nobody may be told of a loss."""
    await burst()
    await play.stack.kill_redis()


LOSSES: Final[dict[str, Loss]] = {
    "log cut back": _cut, "older copy": _restore, "flushed": _flush, "only killed": _kill,
}  # fmt: skip
LOSSLESS: Final = "only killed"


async def _nobody(_: Stack, __: random.Random) -> None:
    pass


async def _kill_one(stack: Stack, chance: random.Random) -> None:
    if workers := stack.pids("gunicorn")[1:]:
        stack.send(signal.SIGKILL, [chance.choice(workers)])


async def _kill_workers(stack: Stack, _: random.Random) -> None:
    stack.send(signal.SIGKILL, stack.pids("gunicorn")[1:])


async def _reload(stack: Stack, _: random.Random) -> None:
    stack.send(signal.SIGHUP, stack.pids("gunicorn")[:1])


Company = Callable[[Stack, random.Random], Awaitable[None]]
WITH: Final[dict[str, Company]] = {
    "": _nobody, "worker killed": _kill_one, "workers killed": _kill_workers, "gunicorn reloaded": _reload,
}  # fmt: skip


async def play_round(play: Play, number: int, name: str) -> None:
    """Play one round. `name` is one of LOSSES, and after ` + ` one of WITH: what breaks together with Redis."""
    loss, _, company = name.partition(" + ")
    ledger, chance = play.ledger, play.chance
    publisher = Publisher(play.stack, ledger, Channels((), ()), chance, 1.0)
    users = absentees(number, USERS, chance)
    channels = [*(f"user:{each.user}" for each in users), f"topic:away{number}", "all"]
    ledger.turn(name)
    seen = [ledger.begin(channel) for channel in channels]
    await publisher.publish(seen)
    for user, first in zip(users, seen, strict=False):
        user.since, user.cursor = ledger.begin("nobody"), first_id(ledger, max(first, seen[-1]))
        await Return(play.stack, ledger, user).leave()
        user.heard.clear()
    await publisher.publish([ledger.begin(chance.choice(channels)) for _ in range(chance.randrange(20))])
    await asyncio.sleep(chance.uniform(0, KEPT_SECONDS))

    async def burst() -> None:
        await publisher.publish([ledger.begin(channel) for channel in chance.sample(channels, len(channels) // 2)])
        await asyncio.sleep(chance.uniform(0, BURST_SECONDS))

    await LOSSES[loss](play, burst)
    await WITH[company](play.stack, chance)
    await play.stack.start_redis()
    last = {channel: ledger.begin(channel) for channel in channels}
    await publisher.publish(list(last.values()))
    await asyncio.gather(*(_come(play, user, last) for user in users))
    _judge(play, name, users, lossless=loss == LOSSLESS)


async def _come(play: Play, user: Absent, last: dict[str, int]) -> None:
    await Return(play.stack, play.ledger, user).come([last[channel] for channel in user.channels])


def _judge(play: Play, name: str, users: list[Absent], *, lossless: bool) -> None:
    outcome, gone = play.outcomes.setdefault(name, Outcome()), 0
    outcome.rounds += 1
    alarmed: list[Absent] = []
    for user in users:
        told, silent, gaps = user.judge(play.ledger)
        outcome.owed += len(user.owed(play.ledger))
        outcome.told += told
        outcome.silent += silent
        gone += told + silent
        alarmed += [user] * gaps
        if silent:
            play.ledger.note(f"{name}: {user.user} came with {user.way} and missed {silent} in silence")
    if lossless and not gone:  # else Redis had put a write off, as it may while its disk is slow
        outcome.false += len(alarmed)
        for user in alarmed:
            play.ledger.note(f"{name}: {user.user} came with {user.way} and was told a gap for nothing")


async def run(
    seed: int, seconds: float, workers: int, only: Sequence[str], folder: Path, say: Callable[[str], None]
) -> Play:
    """Play rounds until the time is over, each loss with each of WITH at least once. Raises BenchError."""
    stack, ledger = Stack(folder, workers), Ledger()
    play = Play(stack, ledger, folder / "data" / "valkey", random.Random(seed))
    names = [" + ".join(filter(None, (loss, company))) for loss in LOSSES if loss in only for company in WITH]
    begun, number = time.monotonic(), 0
    try:
        await stack.start()
        readiness = Readiness(stack.url)
        asking = asyncio.create_task(readiness.run())
        while number < len(names) or time.monotonic() < begun + seconds:
            if number % len(names) == 0:
                play.chance.shuffle(names)
            name = names[number % len(names)]
            say(f"{number} {name}")
            await play_round(play, number, name)
            await readiness.green_after(asyncio.get_running_loop().time())
            number += 1
        asking.cancel()
    finally:
        await stack.stop()
    if "Traceback" in stack.output():
        ledger.note("the service printed a traceback")
    return play


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--seed", type=int, help="Repeats the run that had it.  [default: a new one]", show_default=False)
@click.option("--minutes", type=click.FloatRange(0), default=10.0, help="0: each once.")
@click.option("--workers", type=click.IntRange(1), default=2)
@click.option("--only", multiple=True, type=click.Choice(list(LOSSES)), help="This loss; may be repeated.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), default=RESULTS, help="Where to write.")
def main(seed: int | None, minutes: float, workers: int, only: Sequence[str], results: Path) -> None:
    """Lose what was acknowledged a moment ago while nobody listens, and see that whoever comes later is told."""
    console = Console()
    seed = secrets.randbelow(10**6) if seed is None else seed
    console.print(f"seed {seed}", highlight=False)

    def say(what: str) -> None:
        console.print(f"{time.strftime('%H:%M:%S')} {what}", highlight=False)

    try:
        with tempfile.TemporaryDirectory(prefix="pushsvc-chaos-") as folder:
            play = asyncio.run(run(seed, 60 * minutes, workers, only or [*LOSSES], Path(folder), say))
            results.mkdir(parents=True, exist_ok=True)
            (results / "away.log").write_text(play.stack.output())
    except BenchError as error:
        sys.exit(f"chaos: {error}")
    except KeyboardInterrupt:
        sys.exit("chaos: interrupted, nothing is written")
    sys.exit(_report(play, seed, results, console))


def _report(play: Play, seed: int, results: Path, console: Console) -> bool:
    """Print and write the report. Returns whether anything was wrong."""
    shown = Table(title="events that are gone, by user: said, and in silence", title_justify="left")
    for heading in ("", "rounds", "owed", "told", "silent", "false gaps"):
        shown.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    whole = Counter[str]()
    for name, outcome in sorted(play.outcomes.items()):
        whole.update(vars(outcome))
        shown.add_row(name, *(f"{value:,}" for value in vars(outcome).values()))
    shown.add_section()
    shown.add_row("whole run", *(f"{value:,}" for value in whole.values()))
    console.print(shown)
    for note, count in play.ledger.notes.most_common(SHOWN_NOTES):
        console.print(f"[yellow]{count} x {note}", highlight=False)
    content = {"seed": seed, "whole": whole, "rounds": {name: vars(each) for name, each in play.outcomes.items()}}
    content["notes"] = dict(play.ledger.notes)
    (results / "away.json").write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    return bool(whole["silent"] or whole["false"] or "the service printed a traceback" in play.ledger.notes)


if __name__ == "__main__":
    main()
