"""Writes what generations say to the log. While one round trip is under way, what they say meanwhile gathers; so many
generations share the next one, and what one of them says in that time is joined."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import gevent
import gevent.event

from pushsvc.errors import Unavailable
from pushsvc.lane import Command
from pushsvc.loops import Loop
from pushsvc.store import Store

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.05  # seconds before a write that failed is tried again, doubled up to
LONGEST_PAUSE: Final = 1.0


class Speaker(Protocol):
    """Who has something to write. The same command is asked for again until it was answered: it must bear that."""

    def command(self) -> Command: ...

    def written(self, answer: bytes) -> bool:
        """The command was run. True: there is more to write."""

    def broken(self) -> None:
        """What it wants to write cannot be written; an error of the service."""


class Scribe:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[Speaker, None] = {}
        self._wake = gevent.event.Event()
        self.loop = Loop("scribe", self._work, expected=())

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, speaker: Speaker) -> None:
        """It has something to say; harmless when repeated."""
        self._waiting[speaker] = None
        self._wake.set()

    def _work(self, loop: Loop) -> None:
        pause = FIRST_PAUSE
        while True:
            loop.well()
            self._wake.wait()
            self._wake.clear()
            speakers, self._waiting = self._waiting, {}
            if self._write(list(speakers)):
                pause = FIRST_PAUSE
            else:
                gevent.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _write(self, speakers: list[Speaker]) -> bool:
        """False: Redis did not take everything; it will be asked again."""
        commands = [(speaker, command) for speaker in speakers if (command := self._command(speaker)) is not None]
        try:
            answers = self._store.each([command for _, command in commands])
        except Unavailable:
            answers = [None] * len(commands)
        for (speaker, _), answer in zip(commands, answers, strict=True):
            if not isinstance(answer, bytes) or speaker.written(answer):
                self.add(speaker)
        return all(isinstance(answer, bytes) for answer in answers)

    def _command(self, speaker: Speaker) -> Command | None:
        try:
            return speaker.command()
        except Exception:
            logger.exception("an answer is cut because of an error of the service")
            speaker.broken()
            return None
