"""`python -m bench.heartbeats`: what heartbeats cost on streams that are idle, every 15 and every 5 seconds."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import click

from bench.programs import proc
from bench.programs.build import build
from bench.programs.child import BenchError
from bench.subjects.servers import PushsvcUp
from pushsvc.config import PREFIX
from pushsvc.server.rlimit import raise_descriptor_limit

PERIODS: Final = (15, 5)  # seconds
WINDOW_SECONDS: Final = 30  # a multiple of both
PACE: Final = 200  # connections under way
_PARTS: Final[dict[str, Callable[[str], bool]]] = {
    "nginx": lambda name: name.startswith("nginx"),
    "valkey": lambda name: name.startswith("valkey"),
    "gunicorn": lambda name: not name.startswith(("nginx", "valkey")),
}


class Service(PushsvcUp):
    """A worker behind nginx."""

    def __init__(self, programs: dict[str, Path], folder: Path, period: int) -> None:
        super().__init__(programs, folder)
        self._period = period

    def settings(self) -> dict[str, str]:
        return super().settings() | {f"{PREFIX}HEARTBEAT_SECONDS": str(self._period)}

    def cpu_seconds(self) -> dict[str, float]:
        """The CPU time that each part has used."""
        pids = self.pids()
        return {part: proc.cpu_seconds(pid for pid in pids if is_it(proc.name(pid))) for part, is_it in _PARTS.items()}


def idle(programs: dict[str, Path], period: int, connections: int) -> dict[str, float]:
    """Hold idle streams, each another user's, and give the milliseconds of CPU in a second that each part uses."""
    with (
        tempfile.TemporaryDirectory(prefix="pushsvc-bench-") as folder,
        Service(programs, Path(folder), period) as service,
        service.own_load(connections) as load,
    ):
        load.open(connections, PACE)
        time.sleep(max(PERIODS))  # what is done once for each new stream is done
        before = service.cpu_seconds()
        time.sleep(WINDOW_SECONDS)
        after = service.cpu_seconds()
        load.close()
    return {part: (after[part] - before[part]) / WINDOW_SECONDS * 1000 for part in after}


@click.command()
@click.option("--connections", default=10_000, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(connections: int, rounds: int) -> None:
    """Measure both periods turn by turn, and print the medians."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped on the way out
    raise_descriptor_limit()
    seen: dict[int, list[dict[str, float]]] = {period: [] for period in PERIODS}
    with tempfile.TemporaryDirectory(prefix="pushsvc-bench-") as folder:
        try:
            programs = build(Path(folder))
            for number in range(rounds):
                for period in PERIODS if number % 2 == 0 else PERIODS[::-1]:
                    seen[period].append(idle(programs, period, connections))
        except BenchError as error:
            sys.exit(f"pushsvc: {error}")
    print(f"{connections} idle streams, ms of CPU in a second, medians of {rounds}:")
    for period, rows in seen.items():
        parts = {part: median(row[part] for row in rows) for part in rows[0]}
        named = ", ".join(f"{part} {parts[part]:.1f}" for part in parts)
        print(f"every {period:2} s: {sum(parts.values()):5.1f} ({named})")


if __name__ == "__main__":
    main()
