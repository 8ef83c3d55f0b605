"""Lets crowds connect, listen and leave while exceptions are raised at random lines of the code that runs their
connections, and says what was left behind, or heard by others.

    python -m tests.proofs.raised REDIS_URL [--connects N] [--seed S]

All runs in one process, worker and clients. Exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
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
import greenlet  # type: ignore[import-untyped]

from tests.support.inside.lab import FILES, SKIPPED, Client, Injected, Lab, Reason, Subscriber, descriptors, until

CROWD: Final = 50  # connections at a time
ODDS: Final = 1 / 400  # of an exception, at each line
EVENTS: Final = 3  # for each user, while exceptions are raised
ENDS: Final = ("leaves", "leaves", "leaves HTTP/1.0", "leaves at once", "expires", "is drained")


class Raiser:
    """A trace function that raises at random lines of the lab's files, while it is armed."""

    def __init__(self, seed: int) -> None:
        self.armed, self.raised, self._chance = False, 0, random.Random(seed)
        self.places: set[str] = set()
        self.of: dict[str, list[str]] = {}  # by user, of this crowd

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
            self.of.setdefault(_user_of(frame), []).append(place)
            raise Injected(place)
        return self._line


def _user_of(frame: FrameType | None) -> str:
    """The user whose connection these frames are about; '' if they do not say."""
    while frame is not None:
        for each in frame.f_locals.values():
            who = each if isinstance(each, Subscriber) else getattr(each, "subscriber", None)
            if isinstance(who, Subscriber):
                return who.user
        frame = frame.f_back
    return ""


def live(lab: Lab, client: Client, end: str) -> None:
    """A connection's life, from its request to its end."""
    client.ask(version="1.0" if end == "leaves HTTP/1.0" else "1.1")
    client.open()
    for event in range(EVENTS):
        lab.publish(client.user, f"{client.user}{event}")
    if end != "leaves at once":
        client.wait(f"{client.user}{EVENTS - 1}".encode())
    who = lab.subscriber(client.user)
    if end == "expires" and who is not None:
        who.expires = time.time()
        client.wait(b"never said")
    elif end == "is drained" and who is not None:
        with contextlib.suppress(Injected):
            lab.hub.lifetimes.end(who, Reason.DRAINING)
        client.wait(b"never said")
    client.close()


def crowd(lab: Lab, raiser: Raiser, chance: random.Random, number: int) -> list[str]:
    """Run a crowd's lives. Gives what went wrong."""
    users = [f"user{number}.{place}." for place in range(CROWD)]
    clients = [Client(lab, user) for user in users]
    before = descriptors()
    held = lab.held()

    raiser.of.clear()
    raiser.armed = True
    lives = [gevent.spawn(live, lab, client, chance.choice(ENDS)) for client in clients]
    gevent.joinall(lives)
    raiser.armed = False
    wrong = [
        f"{client.user} hears what is for {other}"
        for client in clients
        for other in users
        if other != client.user and other.encode() in client.heard
    ]
    if not until(lambda: all(count <= held[name] for name, count in lab.held().items())):
        left = {who.user: raiser.of.get(who.user) for who in lab.hub.subscribers.all() if who.user in users}
        wrong.append(f"left behind: {lab.held()}, before: {held}; raised for them at {left}")
    if not until(lambda: descriptors() <= before - CROWD):
        wrong.append(f"descriptors stay open: {descriptors()}, of {before - CROWD}")
    return wrong


def trace(raiser: Raiser) -> None:
    """Trace all greenlets from now on. A trace function that raises ends its tracing, for good in that greenlet, so
    that one that lives long, such as the wheel's, would be tried only once. Therefore tracing begins again with each
    switch to another greenlet, and in the event loop."""

    def switched(event: str, _greenlets: object) -> None:
        if event == "switch" and sys.gettrace() is not raiser:
            sys.settrace(raiser)

    greenlet.settrace(switched)

    def keep_on() -> None:
        while True:
            gevent.get_hub().loop.run_callback(sys.settrace, raiser)
            gevent.sleep(0.001)

    gevent.spawn(keep_on)


def run(redis_url: str, connects: int, seed: int) -> int:
    """Run crowds. Gives the number of findings."""
    raiser, chance, began, findings = Raiser(seed), random.Random(seed), time.monotonic(), 0
    trace(raiser)
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
