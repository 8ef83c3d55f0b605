"""Backends that publish: everything has a key, and is repeated under it until it is acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

import httpx

from chaos.ledger import EventId, Ledger, event_id
from chaos.stacks.stack import Stack
from chaos.traffic.wire import reason

PATIENCE_SECONDS: Final = 90.0  # longer than any fault lasts
ANSWER_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.2  # after no answer at all, or one that does not say when
BATCHES: Final = (1, 1, 1, 2, 5, 20)  # events in one request
IMPATIENT: Final = 0.1  # the share of publishes that are given up after the first failure


class Publisher:
    """Sends one request after the other, so the ids of its events must rise."""

    def __init__(self, stack: Stack, ledger: Ledger, channels: Channels, chance: random.Random, rate: float) -> None:
        """`rate`: events a second."""
        self._url = f"{stack.url}/publish"
        self._headers = {"Authorization": f"Bearer {stack.token('backend', '*')}"}
        self._ledger = ledger
        self._channels = channels
        self._chance = chance
        self._rate = rate
        self._last: EventId = (0, 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop` is set, and bring to its end what was begun."""
        clock = asyncio.get_running_loop().time
        due = clock()
        async with httpx.AsyncClient(headers=self._headers, trust_env=False, timeout=ANSWER_SECONDS) as client:
            while not stop.is_set():
                count = self._chance.choice(BATCHES)
                numbers = [self._ledger.begin(self._channels.draw(self._chance)) for _ in range(count)]
                patience = 0.0 if self._chance.random() < IMPATIENT else PATIENCE_SECONDS
                await self._publish(client, numbers, patience)
                due = max(due + count / self._rate, clock() - 1.0)  # what a fault held up is not made up for
                await asyncio.sleep(due - clock())

    async def publish(self, numbers: Sequence[int]) -> None:
        """Publish these events until they are acknowledged."""
        async with httpx.AsyncClient(headers=self._headers, trust_env=False, timeout=ANSWER_SECONDS) as client:
            await self._publish(client, numbers, PATIENCE_SECONDS)

    async def _publish(self, client: httpx.AsyncClient, numbers: Sequence[int], patience: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            items = [self._item(number) for number in numbers]
            pause = AGAIN_SECONDS
            try:
                answer = await client.post(self._url, json=items[0] if len(items) == 1 else items)
            except httpx.HTTPError as error:
                self._ledger.note(f"a publish failed: {type(error).__name__}")
            else:
                if answer.status_code == 200:
                    numbers = self._acked(numbers, answer.json())
                    if not numbers:
                        return
                else:
                    self._ledger.note(f"a publish was refused with {answer.status_code}: {reason(answer.content)}")
                pause = float(answer.headers.get("Retry-After", AGAIN_SECONDS))
            self._ledger.now.unanswered += 1
            if asyncio.get_running_loop().time() > deadline:
                self._ledger.now.abandoned += len(numbers)
                return
            await asyncio.sleep(pause)

    def _item(self, number: int) -> dict[str, Any]:
        data = self._ledger.data(number)
        return self._channels.address(data.partition(" ")[0]) | {"data": data, "key": f"event-{number}"}

    def _acked(self, numbers: Sequence[int], answer: dict[str, Any]) -> list[int]:
        """Note the events of a batch that were acknowledged, and give those that were refused."""
        now, left = asyncio.get_running_loop().time(), []
        for number, receipt in zip(numbers, answer.get("results", [answer]), strict=True):
            if "error" in receipt:
                self._ledger.note(f"an event of a batch was refused: {receipt['error']['detail']}")
                left.append(number)
                continue
            identity = event_id(receipt["id"])
            self._ledger.ack(number, identity, now)
            if identity <= self._last:
                self._ledger.now.disorder += 1
                self._ledger.note(f"{receipt['id']} was given to what was published after another that has a later id")
            self._last = identity
        return left


class Channels:
    """The channels that are published to: mostly single users, at times a topic, seldom all."""

    def __init__(self, users: Sequence[str], topics: Sequence[str]) -> None:
        self._users = users
        self._topics = topics
        self.quiet = False  # True: nothing is published to all, because some tabs shall have heard nothing

    def draw(self, chance: random.Random) -> str:
        kind = chance.random()
        if kind < 0.01 and not self.quiet:
            return "all"
        return f"topic:{chance.choice(self._topics)}" if kind < 0.1 else f"user:{chance.choice(self._users)}"

    @staticmethod
    def address(channel: str) -> dict[str, Any]:
        """The fields that address an event to this channel."""
        kind, _, name = channel.partition(":")
        return {kind: name or True}
