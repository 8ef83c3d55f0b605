"""Tabs that have heard nothing when something breaks, several of each user: their only cursor is the one that the
stream said when it opened."""

from __future__ import annotations

import asyncio
from typing import Final

from chaos.checker import Witness
from chaos.ledger import Ledger
from chaos.stacks.stack import Stack
from chaos.traffic.eventsource import EventSource
from chaos.traffic.publishers import Publisher
from pushsvc import auth

TABS: Final = 2  # of each user
CONNECT_SECONDS: Final = 30.0
ARRIVE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.05
SINCE: Final = ("", "&since=now", "&since=earliest")  # in turn: a user's tabs are alike


class IdleTabs:
    """The tabs of one step. Their users, and the topic that they follow, are nobody else's; silent until `speak`."""

    def __init__(self, stack: Stack, ledger: Ledger, number: int, users: int) -> None:
        """`number`: the number of the step."""
        self._topic = f"idle{number}"
        self._users = [f"{self._topic}-{user}" for user in range(users)]
        self._ledger = ledger
        self.witnesses: list[Witness] = []
        self._sources: list[EventSource] = []
        self._tasks: list[asyncio.Task[None]] = []
        clock = asyncio.get_running_loop().time
        for place, user in enumerate(self._users):
            cookie = {"Cookie": f"{auth.COOKIE}={stack.token(user)}"}
            path = f"/events?topics={self._topic}{SINCE[place % len(SINCE)]}"
            for _ in range(TABS):
                # What is for all is not theirs to miss: it may come before they are open.
                witness = Witness(user, [f"user:{user}", f"topic:{self._topic}"], ledger, clock, also=("all",))
                self.witnesses.append(witness)
                self._sources.append(EventSource(stack.address, path, cookie, witness))

    async def open(self) -> None:
        """Open the tabs. All are connected when this returns."""
        self._tasks = [asyncio.create_task(source.run()) for source in self._sources]
        async with asyncio.timeout(CONNECT_SECONDS):
            while not all(witness.connected for witness in self.witnesses):
                await asyncio.sleep(LOOK_SECONDS)

    async def speak(self, publisher: Publisher) -> None:
        """Publish one event to each user and one to the topic, until all are acknowledged."""
        channels = [*(f"user:{user}" for user in self._users), f"topic:{self._topic}"]
        await publisher.publish([self._ledger.begin(channel) for channel in channels])

    async def close(self) -> None:
        """Close the tabs once everything has come, or it has taken too long. What is missing then is found at the end
        of the run."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + ARRIVE_SECONDS
        while self._missing() and clock() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _missing(self) -> bool:
        promised = self._ledger.promised()
        return any(witness.missing(promised) for witness in self.witnesses)
