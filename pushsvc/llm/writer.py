"""Writes the chunks of generations to the log. While one round trip to Redis is under way, new chunks gather. So many
generations share the next round trip, and several chunks of one generation become one event."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final

import gevent
import gevent.event

from pushsvc.concurrency.backoff import Backoff
from pushsvc.concurrency.loops import Loop
from pushsvc.errors import Unavailable, WrongType
from pushsvc.llm.generation import Generation
from pushsvc.llm.store import PendingFrames, Records
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.largest import LARGE, TooLong
from pushsvc.storage.redis.refusals import refusal
from pushsvc.storage.redis.scripts import Command

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.05  # seconds before a write that failed is tried again, doubled up to
LONGEST_PAUSE: Final = 1.0
AT_ONCE: Final = 100  # generations in one script, during which Redis serves nobody else
BROKEN: Final = b"broken"  # a script's answer for a generation whose keys have the wrong type


class GenerationWriter:
    """Takes from generations what is to be written, and repeats each write until Redis has taken it."""

    def __init__(self, store: RedisClient, records: Records, worker_id: str) -> None:
        self._store = store
        self._records = records
        self._worker_id = worker_id
        self._waiting: dict[Generation, None] = {}
        self._wake = gevent.event.Event()
        self.loop = Loop("generation writer", self._work, expected=())

    def add(self, generation: Generation) -> None:
        """Have what a generation has to write written soon. Harmless when repeated."""
        self._waiting[generation] = None
        self._wake.set()

    def _work(self, loop: Loop) -> None:
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            loop.report_healthy()
            self._wake.wait()
            self._wake.clear()
            generations, self._waiting = self._waiting, {}
            if self._write(list(generations)):
                backoff.reset()
            else:
                gevent.sleep(backoff.next_pause())

    def _write(self, generations: list[Generation]) -> bool:
        """Write what these generations have. False: Redis did not take everything, and the rest will be tried again."""
        going: list[Generation] = []
        said: list[PendingFrames] = []
        ending: list[Generation] = []
        last: list[Command] = []
        for generation in generations:
            try:
                frames, end = generation.next_write()
            except Exception:
                logger.exception("an answer is cut because of an error of the service")
                generation.on_broken()
                continue
            if end is None:
                going.append(generation)
                said.append(frames)
            else:
                ending.append(generation)
                last.append(self._records.finish(frames, generation.user, end, self._worker_id, ours=True))
        states = self._run(said, last)
        done = [self._handle(*each) for each in zip([*going, *ending], states, strict=True)]
        return all(done)

    def _run(self, said: list[PendingFrames], last: list[Command]) -> list[Any]:
        """Run the writes, and give the state of each generation in Redis; None or an exception for a write that was not
        done."""
        groups = list(_grouped(said))
        try:
            answers = self._store.execute_each([*map(self._records.say, groups), *last])
        except Unavailable:
            return [None] * (len(said) + len(last))
        states: list[Any] = []
        for group, answer in zip(groups, answers, strict=False):
            states += answer if isinstance(answer, list) else [answer] * len(group)
        return states + answers[len(groups) :]

    def _handle(self, generation: Generation, state: Any) -> bool:
        if isinstance(state, bytes) and state != BROKEN:
            if generation.on_written(state.decode()):
                self.add(generation)
            return True
        if state == BROKEN or (isinstance(state, Exception) and isinstance(refusal(state), WrongType)):
            generation.on_broken()
            return True
        if isinstance(state, TooLong):
            generation.on_too_large()
            return True
        self.add(generation)
        return False


def _grouped(said: Sequence[PendingFrames]) -> Iterator[list[PendingFrames]]:
    """Group the writes that share a script. A large write has a script of its own, because Redis may refuse it for its
    size."""
    group: list[PendingFrames] = []
    for each in said:
        if max(map(len, each.frames), default=0) > LARGE:
            yield from filter(None, (group, [each]))
            group = []
            continue
        group.append(each)
        if len(group) == AT_ONCE:
            yield group
            group = []
    if group:
        yield group
