"""Users who have no page open while something breaks. They come afterwards, each in a way of its own, and hear all that
was acknowledged since they were there last, or are told that something is gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from chaos.ledger import EventId, Ledger, event_id
from chaos.stacks.stack import Stack
from chaos.traffic.eventsource import EventSource
from chaos.traffic.wire import Message
from pushsvc import auth

COME_SECONDS: Final = 30.0  # until somebody who came back must have heard of everything
LOOK_SECONDS: Final = 0.02
PAGE: Final = 7  # events in a page of history, so few that some users read several pages
GAP: Final = "gap"


@dataclass
class Absent:
    """A user who is away. `channels`: what they follow; `cursor`: the id that they bring ('': none); `since`: the
    number of the first event that they are owed. `heard`: numbers of events, and GAP, in the order of their coming."""

    user: str
    channels: tuple[str, ...]
    way: str
    cursor: str = ""
    since: int = 0
    heard: list[int | str] = field(default_factory=list)

    def owed(self, ledger: Ledger) -> list[int]:
        promised = ledger.promised()
        return [number for channel in self.channels for number in promised.get(channel, ()) if number >= self.since]

    def judge(self, ledger: Ledger) -> tuple[int, int, int]:
        """Three numbers: the events owed to the user that are gone and were told as gone, those gone in silence, and
        the gaps that were told."""
        came = {number for number in self.heard if isinstance(number, int)}
        missing = [number for number in self.owed(ledger) if number not in came]
        told = [number for number in missing if self._was_told(ledger.id_of(number) or (0, 0), ledger)]
        return len(told), len(missing) - len(told), self.heard.count(GAP)

    def _was_told(self, identity: EventId, ledger: Ledger) -> bool:
        """Whether a gap was told before the first event that comes after this id."""
        for each in self.heard:
            if each == GAP:
                return True
            if isinstance(each, int) and (ledger.id_of(each) or (0, 0)) > identity:
                return False
        return False


Get = Callable[..., Any]


class Return:
    """The return of one user."""

    def __init__(self, stack: Stack, ledger: Ledger, who: Absent) -> None:
        self._stack = stack
        self._ledger = ledger
        self._who = who
        self._token = stack.token(who.user)

    async def leave(self) -> None:
        """Connect for a moment, where the user's way needs it, and leave with a cursor."""
        match self._who.way:
            case "a ticket's cursor":
                async with self._client() as client:
                    self._who.cursor = (await client.post("/tickets", json={})).raise_for_status().json()["cursor"]
            case "a stream's cursor":
                await self._listen(lambda source: source.last_event_id != "")
            case "a position":
                await self._listen(lambda source: source.last_event_id != "")
                async with self._client() as client:
                    (await client.post("/ack", json={"id": self._who.cursor})).raise_for_status()
                self._who.cursor = ""

    async def come(self, last: Sequence[int]) -> None:
        """Come back, and stay until the `last` events have come or it takes too long."""
        self._who.heard.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(COME_SECONDS):
                if self._who.way.startswith("history"):
                    await self._read(last)
                else:
                    await self._listen(lambda _: set(last) <= set(self._who.heard))

    def _client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._token}"}
        return httpx.AsyncClient(base_url=self._stack.url, headers=headers, trust_env=False, timeout=COME_SECONDS)

    # Streams

    async def _listen(self, done: Callable[[EventSource], bool]) -> None:
        topics = ",".join(channel.partition(":")[2] for channel in self._who.channels if channel.startswith("topic:"))
        headers = {"Cookie": f"{auth.COOKIE}={self._token}"}
        source = EventSource(self._stack.address, f"/events?topics={topics}", headers, self)
        source.last_event_id = self._who.cursor
        listening = asyncio.create_task(source.run())
        try:
            while not done(source):
                if listening.done():
                    listening.result()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            if not self._who.heard:
                self._who.cursor = source.last_event_id

    def opened(self) -> None:
        pass

    def refused(self, status: int, why: str) -> None:
        self._ledger.now.refused += 1
        self._ledger.note(f"who came back was refused with {status}: {why}")

    def heard(self, message: Message) -> None:
        if message.event == GAP:
            self._who.heard.append(GAP)
        elif (found := self._ledger.find(message.data)) is not None:
            self._who.heard.append(found[0])

    # Pages of history

    async def _read(self, last: Sequence[int]) -> None:
        """Read the history of one channel, or poll for its events, until the `last` ones have come."""
        wait = {"wait": 5} if "poll" in self._who.way else {}
        asked: dict[str, Any] = {"channel": self._who.channels[0], "limit": PAGE} | wait
        async with self._client() as client:
            while not set(last) <= set(self._who.heard):
                cursor = {"after": self._who.cursor} if self._who.cursor else {}
                answer = await client.get("/history", params=asked | cursor)
                if answer.status_code == 200:
                    self._take(answer.json())
                await asyncio.sleep(LOOK_SECONDS)

    def _take(self, page: dict[str, Any]) -> None:
        if "gap" in page:
            self._who.heard.append(GAP)
        for event in page["events"]:
            self.heard(Message(event["id"], event["event"], event["data"]))
        self._who.cursor = page["next"] or (page["events"][-1]["id"] if page["events"] else self._who.cursor)


WAYS: Final = (
    "an event's id", "a ticket's cursor", "a stream's cursor", "a position", "history", "history, a long poll",
)  # fmt: skip


def absentees(number: int, count: int, chance: random.Random) -> list[Absent]:
    """The users of one round, who follow its topic and what is for all. Those who read history follow one channel."""
    found = []
    for place in range(count):
        user, way = f"away{number}-{place}", WAYS[place % len(WAYS)]
        channels = (f"user:{user}", f"topic:away{number}", "all")
        one = (chance.choice((channels[0], channels[1])),)
        found.append(Absent(user, one if way.startswith("history") else channels, way))
    return found


def first_id(ledger: Ledger, number: int) -> str:
    ms, seq = ledger.id_of(number) or event_id("0-0")
    return f"{ms}-{seq}"
