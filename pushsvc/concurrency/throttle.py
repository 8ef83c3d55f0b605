"""Spreads many greenlets over the turns of the event loop, so that other work does not wait for all of them."""

from __future__ import annotations

from collections import deque
from typing import Any

import gevent
import gevent.event


class TickThrottle:
    """Lets at most `at_once` greenlets through in each turn of the event loop, in order of arrival."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._through = 0  # in this turn
        self._waiting: deque[gevent.event.Event] = deque()
        self._next_turn: Any = None  # a timer of zero seconds fires in the loop's next turn

    def wait(self) -> None:
        """Wait for this greenlet's turn."""
        if self._next_turn is None:
            self._next_turn = gevent.get_hub().loop.timer(0)
        if not self._next_turn.active:
            self._next_turn.start(self._turn)
        if self._through < self._at_once and not self._waiting:
            self._through += 1
            return
        mine = gevent.event.Event()
        self._waiting.append(mine)
        mine.wait()

    def _turn(self) -> None:
        self._through = 0
        while self._waiting and self._through < self._at_once:
            self._waiting.popleft().set()
            self._through += 1
        if self._through:
            self._next_turn.start(self._turn)
