"""The cost of PUSHSVC_DURABILITY=always: `python -m bench.durability` publishes to two embedded servers in turns.

No HTTP is involved: one publisher appends single events, then batches of 100, as the service does with events that come
together, and waits for each answer. An argument names the folder, and so the disk, that is measured.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal

from pushsvc.addresses.embedded import socket_path
from pushsvc.config import Settings
from pushsvc.events.event import Event
from pushsvc.stack.probes import valkey_ready
from pushsvc.stack.valkey import server_command
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.retention import Retention

TURNS: Final = 15
TURN_SECONDS: Final = 0.4
_DURABILITIES: Final[tuple[Literal["everysec", "always"], ...]] = ("everysec", "always")


@contextmanager
def serving(folder: Path, durability: Literal["everysec", "always"]) -> Iterator[EventLog]:
    settings = Settings(data_dir=folder / durability, durability=durability)
    server = subprocess.Popen(server_command(settings), stdout=subprocess.DEVNULL)
    try:
        while not valkey_ready(socket_path(settings.data_dir)):
            assert server.poll() is None, "the server does not start"
            time.sleep(0.05)
        with connect(f"unix://{socket_path(settings.data_dir)}") as client:
            yield EventLog(RedisClient(client), Retention(keep_events=1000, keep_seconds=3600, dedupe_seconds=60))
    finally:
        server.terminate()
        server.wait()


def rate(log: EventLog, batch: int) -> float:
    """Events a second."""
    events = [Event("user:u", "message", "x" * 100)] * batch
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < TURN_SECONDS:
        log.append(events)
        count += batch
    return count / (time.perf_counter() - began)


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder, ExitStack() as running:
        logs = [running.enter_context(serving(Path(folder), durability)) for durability in _DURABILITIES]
        for batch in (1, 100):
            rates = [[rate(log, batch) for log in logs] for _ in range(TURNS)]
            everysec, always = (statistics.median(each) for each in zip(*rates, strict=True))
            ratio = statistics.median(a / b for a, b in rates)
            print(f"batches of {batch}: everysec {everysec:.0f}/s, always {always:.0f}/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
