"""Presence at scale: many users come and go, and `GET /presence` is to be right about each of them soon, and about all
once a worker was killed. `python -m tests.proofs.presence [--users 10000] [--rate 1000] [--seconds 20]`."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx

from pushsvc.server.rlimit import raise_descriptor_limit
from tests.proofs.presence.crowd import Change, Crowd
from tests.support.stack import Stack

CHANGE_SECONDS = 1.0  # within which a connect or leave must be seen
KILL_SECONDS = 5.0  # within which nobody of a killed worker may be
GIVEN_UP_SECONDS = 8.0  # after it a user may be back
ASKED = 20  # changes a second that are asked about


class Asker:
    """An admin that asks who is here."""

    def __init__(self, stack: Stack) -> None:
        self._client = httpx.Client(
            base_url=stack.app_url, headers=stack.bearer("ada", admin=True), trust_env=False, timeout=30
        )
        self.took: list[float] = []  # seconds of each answer

    def has(self, user: str) -> bool:
        """Whether the user is here."""
        return bool(self._ask(user=user)["users"])

    def all(self) -> tuple[set[str], list[str]]:
        """Everybody, in pages, and the workers that were silent."""
        found: set[str] = set()
        silent: list[str] = []
        after: str | None = ""
        while after is not None:
            page = self._ask(limit=1000, after=after)
            found.update(each["user"] for each in page["users"])
            silent += page.get("silent", [])
            after = page["next"]
        return found, silent

    def _ask(self, **params: str | int) -> dict:  # type: ignore[type-arg]
        began = time.monotonic()
        answer = self._client.get("/presence", params=params).raise_for_status()
        self.took.append(time.monotonic() - began)
        return answer.json()  # type: ignore[no-any-return]


@contextmanager
def crowd(stack: Stack, users: int, rate: float, seconds: float) -> Iterator[Connection]:
    """Run the crowd in a process of its own. For what comes through the pipe see `Crowd.main`."""
    ours, theirs = Pipe()
    host, port = str(stack.settings["app"]).split(":")
    tokens = {f"visitor{number:06}": stack.token(f"visitor{number:06}") for number in range(2 * users)}
    # A copy of this process would keep its ends of the pipes; the crowd needs nothing but these arguments.
    process = Process(target=Crowd.main, args=(theirs, (host, int(port)), tokens, users, rate, seconds), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.kill()
        process.join()


class Seen(NamedTuple):
    """The time until a change was seen. `wrong`: the seconds after it at which a wrong answer was still asked for, 0 if
    the first was right; `right`: those at which a right answer had come."""

    wrong: float
    right: float


def lags(pipe: Connection, asker: Asker, sampled: int) -> tuple[dict[bool, list[Seen]], float, set[str]]:
    """Ask about one of `sampled` changes until it is seen: joins (True) and leaves (False). Also the joins a second
    that the crowd made, and who is here at the end."""
    found: dict[bool, list[Seen]] = {True: [], False: []}
    wrong: dict[Change, float] = {}
    unseen: deque[Change] = deque()
    end: tuple[float, set[str]] | None = None
    count = 0
    while unseen or end is None:
        while end is None and pipe.poll(0 if unseen else None):
            said = pipe.recv()
            if not isinstance(said, Change):
                end = said
            elif (count := count + 1) % sampled == 0:
                unseen.append(said)
        if unseen:
            change = unseen.popleft()
            age = time.monotonic() - change.at
            if asker.has(change.user) == change.came or age > GIVEN_UP_SECONDS:
                found[change.came].append(Seen(wrong.get(change, 0), time.monotonic() - change.at))
            else:
                wrong[change] = age
                unseen.append(change)
    return found, *end


def until_right(asker: Asker, expected: set[str], began: float) -> float:
    """Seconds until everybody who is here, and nobody else, is told of, and no worker is silent."""
    while True:
        found, silent = asker.all()
        took = time.monotonic() - began
        if (found == expected and not silent) or took > 30:
            if found != expected:
                print(f"{len(expected - found)} are missing, {len(found - expected)} are too many, silent: {silent}")
            return took


def main() -> int:
    parser = argparse.ArgumentParser(description="How soon presence is right.")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1000.0, help="joins a second, and as many leaves")
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    raise_descriptor_limit()
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data", workers=2)
        try:
            with crowd(stack, given.users, given.rate, given.seconds) as pipe:
                return prove(stack, pipe, int(2 * given.rate / ASKED) | 1)  # odd: of both kinds
        finally:
            stack.stop()


def prove(stack: Stack, pipe: Connection, sampled: int) -> int:
    """Print what was seen, and give the exit status."""
    asker = Asker(stack)
    print(f"{pipe.recv()} users are here")
    found, changes, here = lags(pipe, asker, sampled)
    ended = time.monotonic()
    worst = max(each.wrong for seen in found.values() for each in seen)
    print(f"{changes:.0f} joins a second, and as many leaves")
    for came, seen in found.items():
        median = 1000 * statistics.median(each.right for each in seen)
        last = 1000 * max(each.wrong for each in seen)
        print(
            f"{'join' if came else 'leave'}: a right answer had come after {median:.0f} ms (median of {len(seen)}); "
            f"the last wrong one was asked for after {last:.0f} ms"
        )
    print(f"an answer about one user took {1000 * statistics.median(asker.took):.1f} ms (median)")
    settled = until_right(asker, here, ended)
    print(f"all {len(here)} users were told of, and nobody else, {settled:.2f} s after the last change")
    victim = stack.pids()["gunicorn"][1]
    began = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    pipe.send("who?")
    left: set[str] = pipe.recv()
    killed = until_right(asker, left, began)
    print(f"a worker with {len(here) - len(left)} of them was killed: right after {killed:.2f} s")
    return int(worst > CHANGE_SECONDS or settled > CHANGE_SECONDS or killed > KILL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
