"""Lets crowds connect, listen and leave while exceptions are raised at random lines of the code that runs their
connections, and says what was left behind, or heard by others.

    python -m tests.proofs.raised REDIS_URL [--connects N] [--seed S]

All runs in one process, worker and clients. Exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import gevent

from tests.support.inside.lab import FILES, SKIPPED, Client, Injected, Lab, descriptors, until

CROWD: Final = 50  # connections at a time
ODDS: Final = 1 / 600  # of an exception, at each line
EVENTS: Final = 3  # for each user, while exceptions are raised


class Raiser:
    """A trace function that raises at random lines of the lab's files, while it is armed."""

    def __init__(self, seed: int) -> None:
        self.armed, self.raised, self._chance = False, 0, random.Random(seed)
        self.places: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if not self.armed or code.co_filename not in FILES or code.co_qualname.partition(".<locals>")[0] in SKIPPED:
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and self.armed and self._chance.random() < ODDS:
            self.raised += 1
            place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
            self.places.add(place)
            raise Injected(place)
        return self._line


def crowd(lab: Lab, raiser: Raiser, chance: random.Random, number: int) -> list[str]:
    """Run a crowd's lives. What went wrong."""
    users = [f"user{number}.{place}." for place in range(CROWD)]
    clients = [Client(lab, user) for user in users]
    before = descriptors()
    held = lab.held()

    def live(client: Client, stay: bool) -> None:
        client.ask()
        client.open()
        for event in range(EVENTS):
            lab.publish(client.user, f"{client.user}{event}")
        if stay:
            client.wait(f"{client.user}{EVENTS - 1}".encode())
        client.close()

    raiser.armed = True
    lives = [gevent.spawn(live, client, chance.random() < 0.7) for client in clients]
    gevent.joinall(lives)
    raiser.armed = False
    wrong = [
        f"{client.user} hears what is for {other}"
        for client in clients
        for other in users
        if other != client.user and other.encode() in client.heard
    ]
    if not until(lambda: all(count <= held[name] for name, count in lab.held().items())):
        wrong.append(f"left behind: {lab.held()}, before: {held}")
    if not until(lambda: descriptors() <= before - CROWD):
        wrong.append(f"descriptors stay open: {descriptors()}, of {before - CROWD}")
    return wrong


def _trace_on(raiser: Raiser) -> None:
    """Tracing ends with each exception, so it is begun again and again, here and in the event loop, from which all new
    greenlets have it."""
    while True:
        sys.settrace(raiser)
        gevent.get_hub().loop.run_callback(sys.settrace, raiser)
        gevent.sleep(0.001)


def run(redis_url: str, connects: int, seed: int) -> int:
    """Run crowds. The number of findings."""
    raiser, chance, began, findings = Raiser(seed), random.Random(seed), time.monotonic(), 0
    gevent.spawn(_trace_on, raiser)
    gevent.get_hub().NOT_ERROR += (Injected,)  # or gevent prints each
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(redis_url, folder)
        crowds = -(-connects // CROWD)
        for number in range(crowds):
            for each in crowd(lab, raiser, chance, number):
                findings += 1
                print(f"crowd {number}: {each}", flush=True)
    took = time.monotonic() - began
    print(f"{crowds * CROWD} connects in {took:.0f} s; {raiser.raised} exceptions raised, at", end=" ")
    print(f"{len(raiser.places)} lines; {findings} findings", flush=True)
    return findings


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("redis_url")
    parser.add_argument("--connects", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    status = 1
    try:
        status = int(run(chosen.redis_url, chosen.connects, chosen.seed) > 0)
    finally:
        os._exit(status)
