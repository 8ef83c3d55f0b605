"""Hooks at scale: users come and go while workers are killed, and a backend hears of each exactly once.
`python -m tests.proofs.hooks [--users 20000] [--rate 400] [--kills 10]`."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.clients.eventsource import until
from tests.support.others.hookreceiver import HOOK_SECRET, HookReceiver
from tests.support.stack import Stack

SHORTEST_SECONDS = 0.1  # of a visit
LONGEST_SECONDS = 6.0
SURE_SECONDS = 3.0  # who stayed so long, and was not cut by a kill, must have been told of
SETTLE_SECONDS = 120.0  # without a hook, after which none comes any more


class Visits:
    """Users who come once each, at an even rate, stay for a while, and go."""

    def __init__(self, stack: Stack, users: int, rate: float) -> None:
        self._stack = stack
        self._users = users
        self._rate = rate
        self.stayed: dict[str, float] = {}  # seconds, of those that left by themselves

    async def run(self) -> None:
        """Let all of them come."""
        visits = []
        for number in range(self._users):
            visits.append(asyncio.create_task(self._visit(f"visitor{number}")))
            await asyncio.sleep(1 / self._rate)
        await asyncio.gather(*visits)

    async def _visit(self, user: str) -> None:
        host, port = str(self._stack.settings["app"]).split(":")
        bearer = self._stack.bearer(user)["Authorization"]
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n".encode())
            await asyncio.wait_for(reader.readuntil(b"event: cursor"), 10)
            began = time.monotonic()
            try:
                await asyncio.wait_for(self._until_cut(reader), random.uniform(SHORTEST_SECONDS, LONGEST_SECONDS))
            except TimeoutError:
                self.stayed[user] = time.monotonic() - began
            writer.close()
        except (OSError, EOFError, TimeoutError):
            return  # a worker was killed

    @staticmethod
    async def _until_cut(reader: asyncio.StreamReader) -> None:
        while await reader.read(65536):
            pass


async def killed(stack: Stack, kills: int, seconds: float) -> None:
    """Kill a worker so many times."""
    for _ in range(kills):
        await asyncio.sleep(seconds / kills)
        workers = stack.pids()["gunicorn"][1:]
        if workers:
            await asyncio.to_thread(stack.kill, "gunicorn", slice(1, 2))


def until_told(stack: Stack, receiver: HookReceiver) -> None:
    """Wait until no hook is waiting, and nobody is there or away who could make one."""
    keys, store = stack.keys_of(""), stack.redis
    while True:
        before = len(receiver.taken)
        if not any(map(store.zcard, (keys.hooks, keys.away))) and not store.hlen(keys.who):
            return
        print(f"{before} hooks were taken; {store.zcard(keys.hooks)} wait", flush=True)
        until(partial(receiver.has_more_than, before), "a hook", SETTLE_SECONDS)
        time.sleep(1)  # between two looks


def judge(visits: Visits, receiver: HookReceiver) -> int:
    """Print what was told, and give the exit status."""
    told: dict[str, list[str]] = {}
    for hook in {each["id"]: each for each in receiver.taken}.values():
        told.setdefault(hook["user"], []).append(hook["type"].removeprefix("user."))
    kinds = Counter("+".join(each) for each in told.values())
    sure = [user for user, seconds in visits.stayed.items() if seconds >= SURE_SECONDS]
    lost = [user for user in sure if user not in told]
    wrong = {kind: count for kind, count in kinds.items() if kind != "connected+disconnected"}
    repeated = len(receiver.taken) - len({each["id"] for each in receiver.taken})
    print(
        f"{len(told)} users were told of; {len(sure)} stayed long enough to be sure of, of these {len(lost)} were lost"
    )
    print(f"doubled, or not in order: {wrong or 'none'}; hooks that came again with the same id: {repeated}")
    return 1 if lost or wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Hooks while workers are killed.")
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=400.0)
    parser.add_argument("--kills", type=int, default=10)
    given = parser.parse_args()
    receiver = HookReceiver()
    with TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data", workers=2, hook_url=receiver.url, hook_secret=HOOK_SECRET)
        try:
            visits = Visits(stack, given.users, given.rate)

            async def all_of_it() -> None:
                await asyncio.gather(visits.run(), killed(stack, given.kills, given.users / given.rate))

            asyncio.run(all_of_it())
            until_told(stack, receiver)
            return judge(visits, receiver)
        finally:
            stack.stop()
            receiver.close()


if __name__ == "__main__":
    sys.exit(main())
