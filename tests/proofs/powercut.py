"""Power cuts: `python -m tests.proofs.powercut 200` loses nothing that was acknowledged, or says what.

All that is certain to be on the disk after one is the log up to the server's last sync, which `synced.c` notes; of what
follows, any part may be there, or zeros in its place. So the server is killed while several publishers wait for
answers, its log is cut off there, and a random piece of what followed, or zeros, is put back.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from unittest import mock

from pushsvc.addresses.embedded import socket_path
from pushsvc.config import Settings
from pushsvc.events.event import BEGINNING, Event, EventId
from pushsvc.stack.probes import valkey_ready
from pushsvc.stack.valkey import cut_zeros, server_command
from pushsvc.storage import log as eventlog
from pushsvc.storage.log import EventLog, Receipt
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import ALONE
from pushsvc.storage.retention import Retention
from tests.support.clients.eventsource import until
from tests.support.processes import dies_with_the_tests
from tests.support.programs import CC, need

Durability = Literal["always", "everysec"]

PUBLISHERS = 4
CHANNELS = [f"user:{number}" for number in range(3)]


class Machine:
    """An embedded server on a disk that survives, and what its publishers were told."""

    def __init__(self, data_dir: Path, rng: random.Random, durability: Durability) -> None:
        self.settings = Settings(data_dir=data_dir, durability=durability)
        self._synced = data_dir / "synced"
        self._library = data_dir / "synced.so"
        data_dir.mkdir(parents=True, exist_ok=True)
        source = Path(__file__).parents[1] / "support" / "inside" / "synced.c"
        subprocess.run([need(CC), "-shared", "-fPIC", "-o", self._library, source, "-ldl"], check=True)
        self.acked: dict[str, dict[EventId, str]] = {channel: {} for channel in CHANNELS}
        self.torn = 0  # bytes that were left behind what was synced, over all rounds
        self._rng = rng

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        cut_zeros(self.settings.data_dir)
        server = subprocess.Popen(
            server_command(self.settings), stdout=subprocess.DEVNULL, preexec_fn=dies_with_the_tests(signal.SIGKILL),
            env=os.environ | {"LD_PRELOAD": str(self._library), "SYNCED": str(self._synced)},
        )  # fmt: skip
        try:
            until(lambda: valkey_ready(socket_path(self.settings.data_dir)) or server.poll() is not None, "the server")
            assert server.poll() is None, "the server does not start"
            yield server
        finally:
            server.kill()
            server.wait()

    def log(self) -> EventLog:
        url = f"unix://{socket_path(self.settings.data_dir)}"
        store = RedisClient(connect(url, Fence(ALONE).handshake))
        return EventLog(store, Retention(keep_events=10**6, keep_seconds=86400, dedupe_seconds=60))

    def publish_until_the_power_goes(self, number: int, events: int) -> None:
        """Publish about so many events, and then cut the power."""
        with self.running() as server:
            enough = threading.Semaphore(0)

            def publish(name: str) -> None:
                log, rng = self.log(), random.Random(name)
                while True:
                    channel, data = rng.choice(CHANNELS), f"{name} {rng.random()} {'.' * rng.randrange(2000)}"
                    [receipt] = log.append([Event(channel, "message", data)])
                    if not isinstance(receipt, Receipt):
                        return  # the power went
                    self.acked[channel][receipt.id] = data
                    enough.release()

            threads = [threading.Thread(target=publish, args=(f"{number}-{each}",)) for each in range(PUBLISHERS)]
            for thread in threads:
                thread.start()
            for _ in range(events):
                assert enough.acquire(timeout=30)
            server.kill()
            for thread in threads:
                thread.join()
        self._tear()

    def _tear(self) -> None:
        """Leave of the log what is certain, and a random piece of the rest."""
        folder = self.settings.data_dir / "valkey" / "appendonlydir"
        [path] = folder.glob("*.incr.aof")
        raw = path.read_bytes()
        [synced] = struct.unpack("=Q", self._synced.read_bytes()) if self._synced.exists() else [0]
        rest = raw[synced:]
        piece = rest[: self._rng.randint(0, len(rest))]
        if self._rng.random() < 0.3:
            piece += bytes(self._rng.randint(1, 9000))
        path.write_bytes(raw[:synced] + piece)
        self.torn += len(piece)

    def lost(self) -> list[str]:
        """The events that were acknowledged and are not there, or not in their place."""
        missing = []
        with self.running():
            log = self.log()
            clock = log.clock()
            for channel, acked in self.acked.items():
                [kept] = log.read([channel], BEGINNING, clock, 10**6)
                ids = [entry.id for entry in kept.entries]
                known = set(ids)
                missing += [f"{channel} {event_id}" for event_id in acked if event_id not in known]
                if ids != sorted(known):
                    missing.append(f"{channel}: not in order, or twice")
                wires = {entry.id: entry.wire.decode() for entry in kept.entries}
                missing += [f"{channel} {each}: changed" for each in acked if acked[each] not in wires.get(each, "")]
        return missing


def cut(
    rounds: int, events: int, seed: int, data_dir: Path, durability: Durability = "always"
) -> tuple[Machine, list[str]]:
    """Publish and cut the power so many times, or until something is lost; what that is."""
    machine = Machine(data_dir, random.Random(seed), durability)
    with mock.patch.object(eventlog, "PATIENCE_SECONDS", 0.0):  # nobody starts it again meanwhile
        return machine, _cut(machine, rounds, events)


def _cut(machine: Machine, rounds: int, events: int) -> list[str]:
    for number in range(rounds):
        if sys.stderr.isatty():
            print(f"\rcut {number} of {rounds}", end="", file=sys.stderr, flush=True)
        machine.publish_until_the_power_goes(number, events)
        missing = machine.lost()
        if missing:
            return missing
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description="Cut the power of an embedded server that syncs before it answers.")
    parser.add_argument("rounds", type=int)
    parser.add_argument("--events", type=int, default=40, help="acknowledged before each cut")
    parser.add_argument("--durability", choices=["always", "everysec"], default="always")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    given = parser.parse_args()
    logging.disable()  # that Redis went is the point
    with tempfile.TemporaryDirectory() as folder:
        machine, missing = cut(given.rounds, given.events, given.seed, Path(folder), given.durability)
    acked = sum(map(len, machine.acked.values()))
    print(
        f"seed {given.seed}: {given.rounds} power cuts, {acked} events acknowledged, {machine.torn} bytes torn, "
        f"{len(missing)} lost"
    )
    sys.exit("\n".join(missing) or None)


if __name__ == "__main__":
    main()
