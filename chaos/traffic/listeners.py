"""The crowd of users, each with an open page: half of them bring a cookie with their token, and half came with a ticket
from another site, where no cookie comes back."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import httpx

from chaos.checker import Witness
from chaos.ledger import Ledger
from chaos.stacks.stack import Stack
from chaos.traffic.eventsource import EventSource
from pushsvc import auth

USERS_PER_TOPIC: Final = 20
CONNECT_SECONDS: Final = 30.0


class Listeners:
    """Every user follows their own channel, `all`, and one topic with some others."""

    def __init__(self, stack: Stack, ledger: Ledger, count: int) -> None:
        self.users = [f"u{number}" for number in range(count)]
        self.topics = [f"t{number}" for number in range(max(1, count // USERS_PER_TOPIC))]
        self.witnesses: list[Witness] = []
        self._stack = stack
        self._sources: list[EventSource] = []
        self._tasks: list[asyncio.Task[None]] = []
        clock = asyncio.get_running_loop().time
        for number, user in enumerate(self.users):
            topic = self.topics[number % len(self.topics)]
            witness = Witness(user, [f"user:{user}", f"topic:{topic}", "all"], ledger, clock)
            self.witnesses.append(witness)

    async def _page(self, backend: httpx.AsyncClient, number: int) -> EventSource:
        user, topic = self.users[number], self.topics[number % len(self.topics)]
        token, path, headers = self._stack.token(user), f"/events?topics={topic}", {}
        if number % 2:
            asker = {"Authorization": f"Bearer {token}"}
            path = (await backend.post("/tickets", json={"topics": [topic]}, headers=asker)).json()["url"]
        else:
            headers["Cookie"] = f"{auth.COOKIE}={token}"
        return EventSource(self._stack.address, path, headers, self.witnesses[number])

    async def start(self) -> None:
        """Open a page for each user. All are connected when this returns."""
        async with httpx.AsyncClient(base_url=self._stack.url, trust_env=False, timeout=CONNECT_SECONDS) as backend:
            self._sources = [await self._page(backend, number) for number in range(len(self.users))]
        self._tasks = [asyncio.create_task(source.run()) for source in self._sources]
        async with asyncio.timeout(CONNECT_SECONDS):
            while not all(witness.connected for witness in self.witnesses):
                self.check()
                await asyncio.sleep(0.05)

    def check(self) -> None:
        """Raise what went wrong in any of the listeners; nothing should."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self, share: float, chance: random.Random) -> None:
        """Break the connections of this share of the clients."""
        for source in self._sources:
            if chance.random() < share:
                source.drop()
