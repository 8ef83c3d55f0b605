"""Writes what generations say to the log. While one round trip is under way, what they say meanwhile gathers; so many
generations share the next one, and what one of them says in that time is joined."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import gevent
import gevent.event

from pushsvc.concurrency.backoff import Backoff
from pushsvc.concurrency.loops import Loop
from pushsvc.errors import Unavailable, WrongType
from pushsvc.llm.outcome import Ending
from pushsvc.llm.store import PendingFrames, Records
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.largest import LARGE, TooLong
from pushsvc.storage.redis.refusals import refusal
from pushsvc.storage.redis.scripts import Command

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.05  # seconds before a write that failed is tried again, doubled up to
LONGEST_PAUSE: Final = 1.0
AT_ONCE: Final = 100  # generations in one script, which holds Redis up for as long as it takes
BROKEN: Final = b"broken"  # what a script answers for a generation whose keys are not what they should be


class Writable(Protocol):
    """Who has something to write. The same is asked for again until it was written: it must bear that."""

    user: str

    def words(self) -> tuple[PendingFrames, Ending | None]:
        """What there is to say; with an ending it is the last."""

    def written(self, state: str) -> bool:
        """That was done, and left this state. True: there is more to say."""

    def too_long(self) -> None:
        """What it wants to write is larger than Redis takes."""

    def broken(self) -> None:
        """What it wants to write cannot be written."""


class GenerationWriter:
    def __init__(self, store: RedisClient, records: Records, worker_id: str) -> None:
        self._store = store
        self._records = records
        self._worker_id = worker_id
        self._waiting: dict[Writable, None] = {}
        self._wake = gevent.event.Event()
        self.loop = Loop("scribe", self._work, expected=())

    def add(self, speaker: Writable) -> None:
        """It has something to say; harmless when repeated."""
        self._waiting[speaker] = None
        self._wake.set()

    def _work(self, loop: Loop) -> None:
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            loop.report_healthy()
            self._wake.wait()
            self._wake.clear()
            speakers, self._waiting = self._waiting, {}
            if self._write(list(speakers)):
                backoff.reset()
            else:
                gevent.sleep(backoff.next_pause())

    def _write(self, speakers: list[Writable]) -> bool:
        """False: Redis did not take everything; it will be asked again."""
        going: list[Writable] = []
        said: list[PendingFrames] = []
        ending: list[Writable] = []
        last: list[Command] = []
        for speaker in speakers:
            try:
                words, end = speaker.words()
            except Exception:
                logger.exception("an answer is cut because of an error of the service")
                speaker.broken()
                continue
            if end is None:
                going.append(speaker)
                said.append(words)
            else:
                ending.append(speaker)
                last.append(self._records.finish(words, speaker.user, end, self._worker_id, ours=True))
        states = self._run(said, last)
        done = [self._told(*each) for each in zip([*going, *ending], states, strict=True)]
        return all(done)

    def _run(self, said: list[PendingFrames], last: list[Command]) -> list[Any]:
        """The state of each; of what was not done, None or why."""
        groups = list(_grouped(said))
        try:
            answers = self._store.execute_each([*map(self._records.say, groups), *last])
        except Unavailable:
            return [None] * (len(said) + len(last))
        states: list[Any] = []
        for group, answer in zip(groups, answers, strict=False):
            states += answer if isinstance(answer, list) else [answer] * len(group)
        return states + answers[len(groups) :]

    def _told(self, speaker: Writable, state: Any) -> bool:
        if isinstance(state, bytes) and state != BROKEN:
            if speaker.written(state.decode()):
                self.add(speaker)
            return True
        if state == BROKEN or (isinstance(state, Exception) and isinstance(refusal(state), WrongType)):
            speaker.broken()
            return True
        if isinstance(state, TooLong):
            speaker.too_long()
            return True
        self.add(speaker)
        return False


def _grouped(said: Sequence[PendingFrames]) -> Iterator[list[PendingFrames]]:
    """Those that share a script; who has much to say has one of their own, which Redis may refuse for its size."""
    group: list[PendingFrames] = []
    for words in said:
        if max(map(len, words.frames), default=0) > LARGE:
            yield from filter(None, (group, [words]))
            group = []
            continue
        group.append(words)
        if len(group) == AT_ONCE:
            yield group
            group = []
    if group:
        yield group
