"""Finds which acknowledged events the data lacks at the end, and whether users who were away are told."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from chaos.ledger import EventId, Ledger, event_id
from chaos.stacks.stack import Stack
from chaos.traffic.eventsource import EventSource
from chaos.traffic.wire import Message
from pushsvc import auth
from pushsvc.storage.redis.keys import ALONE

ANSWER_SECONDS: Final = 10.0
AT_ONCE: Final = 20  # readers
_BEFORE_ALL: Final[EventId] = (0, 0)


class Hole(NamedTuple):
    """Consecutive events of a channel that are gone, and the cursor of a reader who has seen all before them."""

    channel: str
    numbers: list[int]
    cursor: EventId
    next: str | None  # the data of the event after it


async def gone(stack: Stack, ledger: Ledger) -> set[int]:
    """The numbers of the acknowledged events that are gone. Each counts in its chapter, as gone if a reader is told so,
    else as lost."""
    holes = await asyncio.to_thread(lambda: list(_holes(stack, ledger)))
    turns = asyncio.Semaphore(AT_ONCE)

    async def judge(hole: Hole) -> None:
        async with turns:
            told = await _is_told(stack, hole)
        for number in hole.numbers:
            chapter = ledger.chapter_of(number)
            chapter.gone += told
            chapter.lost += not told
        if not told:
            ledger.note(f"whoever was away is not told that {ledger.data(hole.numbers[0])} is gone")

    async with asyncio.TaskGroup() as judging:
        for hole in holes:
            judging.create_task(judge(hole))
    numbers = {number for hole in holes for number in hole.numbers}
    _note_spans(ledger, numbers)
    return numbers


def _holes(stack: Stack, ledger: Ledger) -> Iterator[Hole]:
    promised = ledger.promised()
    kept = {channel: _kept(stack, channel) for channel in promised}
    ids = sorted(identity for each in kept.values() for identity in each)
    for channel, numbers in promised.items():
        hole: list[int] = []
        for number in [*sorted(numbers, key=lambda each: ledger.id_of(each) or _BEFORE_ALL), None]:
            if number is not None and ledger.id_of(number) not in kept[channel]:
                hole.append(number)
            elif hole:
                before = bisect_left(ids, ledger.id_of(hole[0]) or _BEFORE_ALL)
                data = None if number is None else ledger.data(number)
                yield Hole(channel, hole, ids[before - 1] if before else _BEFORE_ALL, data)
                hole = []


def _kept(stack: Stack, channel: str) -> set[EventId]:
    entries: Any = stack.redis.xrange(ALONE.log(channel))
    return {event_id(raw.decode()) for raw, _ in entries}


class _Reader:
    """A reader who comes with an id from before the hole."""

    def __init__(self, hole: Hole) -> None:
        self._next = hole.next
        self.told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def opened(self) -> None:
        pass

    def refused(self, status: int, why: str) -> None:
        pass

    def heard(self, message: Message) -> None:
        if not self.told.done() and (message.event == "gap" or message.data == self._next):
            self.told.set_result(message.event == "gap")


async def _is_told(stack: Stack, hole: Hole) -> bool:
    kind, _, name = hole.channel.partition(":")
    user, topics = (name, "") if kind == "user" else ("auditor", f"topics={name}&" if name else "")
    path = f"/events?{topics}last_event_id={hole.cursor[0]}-{hole.cursor[1]}"
    reader = _Reader(hole)
    source = EventSource(stack.address, path, {"Cookie": f"{auth.COOKIE}={stack.token(user)}"}, reader)
    listening = asyncio.create_task(source.run())
    try:
        return await asyncio.wait_for(reader.told, ANSWER_SECONDS)
    except TimeoutError:
        return False
    finally:
        listening.cancel()


def _note_spans(ledger: Ledger, numbers: Sequence[int] | set[int]) -> None:
    for chapter in ledger.chapters:
        moments = sorted(ledger.acked_at(number) for number in numbers if ledger.chapter_of(number) is chapter)
        if moments:
            span = moments[-1] - moments[0]
            ledger.note(f"{chapter.name}: {len(moments)} acknowledged events are gone, all of {span:.2f} s")
