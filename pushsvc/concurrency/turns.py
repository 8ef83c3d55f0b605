"""Lets few at a time do what takes much memory, and of each owner only one, so that an owner with many does not keep
others out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

import gevent.event


class Turns:
    """At most so many turns at a time, given in the order in which they were asked for."""

    def __init__(self, most: int) -> None:
        self._most: Final = most
        self._active: dict[str, Turn] = {}  # by owner
        self._waiting: dict[Turn, None] = {}

    def of(self, owner: str, waiting: Callable[[], AbstractContextManager[None]]) -> Turn:
        """A turn that is not taken yet. `waiting`: what is around a wait for it."""
        return Turn(self, owner, waiting)

    def ask(self, turn: Turn) -> None:
        """Let the turn wait, or give it at once."""
        self._waiting[turn] = None
        self._give()

    def leave(self, turn: Turn) -> None:
        """Wait no more, or let the next one go on."""
        self._waiting.pop(turn, None)
        if self._active.get(turn.owner) is turn:
            del self._active[turn.owner]
            self._give()

    def _give(self) -> None:
        for turn in list(self._waiting):
            if len(self._active) >= self._most:
                return
            if turn.owner not in self._active:
                del self._waiting[turn]
                self._active[turn.owner] = turn
                turn.given.set()


class Turn:
    """One turn of an owner."""

    def __init__(self, turns: Turns, owner: str, waiting: Callable[[], AbstractContextManager[None]]) -> None:
        self._waiting = waiting
        self._turns = turns
        self.owner = owner
        self.given = gevent.event.Event()

    def take(self, seconds: float) -> bool:
        """Wait for the turn; harmless for who has it. False: it did not come in so many seconds."""
        if self.given.is_set():
            return True
        self._turns.ask(self)
        try:
            with self._waiting():
                came = self.given.wait(seconds)
        except BaseException:  # the greenlet is killed
            self.leave()
            raise
        if not came:
            self.leave()
        return bool(came)

    def leave(self) -> None:
        """Let the next one go on. Harmless when repeated."""
        self.given.clear()
        self._turns.leave(self)
