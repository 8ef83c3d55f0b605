"""Pauses that grow with each failed attempt."""

from __future__ import annotations

import time
from typing import Final

FIRST_PAUSE: Final = 0.05  # seconds between the first two attempts of a `Retries`, doubled up to
LONGEST_PAUSE: Final = 0.5


class Backoff:
    """Pauses in seconds: the first is `first`, each next one twice as long, up to `longest`."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._pause = first

    def next_pause(self) -> float:
        """The pause after a failure. The caller sleeps."""
        pause, self._pause = self._pause, min(2 * self._pause, self._longest)
        return pause

    def reset(self) -> None:
        """Begin again with the first pause, after a success."""
        self._pause = self._first


class Retries:
    """Attempts at one operation, with growing pauses in between, for at most `seconds` in all."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)

    def wait(self) -> bool:
        """Sleep before the next attempt. Returns False at once if `seconds` would be over by then."""
        pause = self._backoff.next_pause()
        if time.monotonic() + pause > self._until:
            return False
        time.sleep(pause)
        return True
