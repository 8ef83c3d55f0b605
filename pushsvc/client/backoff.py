"""Pauses between tries, after which many clients do not come back at the same moment."""

from __future__ import annotations

import random


class Backoff:
    """Pauses in seconds that double from `first` up to `longest`, each drawn from its upper half."""

    def __init__(self, first: float = 0.1, longest: float = 10.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def pause(self, asked: float | None = None) -> float:
        """The pause after a failure; `asked`: the shortest that the service wants. The caller sleeps."""
        own, self._next = self._next, min(2 * self._next, self._longest)
        drawn = random.uniform(own / 2, own)
        return drawn if asked is None else max(drawn, asked * random.uniform(1.0, 1.25))

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._next = self._first
