"""Waiting for what is away for a moment."""

from __future__ import annotations

import time
from typing import Final

FIRST_PAUSE: Final = 0.05  # seconds, doubled up to
LONGEST_PAUSE: Final = 0.5


class Backoff:
    """The pauses between tries, of so many seconds in all."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._pause = FIRST_PAUSE

    def wait(self) -> bool:
        """False: it has been long enough."""
        if time.monotonic() + self._pause > self._until:
            return False
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return True
