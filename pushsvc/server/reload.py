"""The barrier of a reload, in memory that all workers share: no old worker leaves before a new one serves."""

from __future__ import annotations

import mmap
import sys
from typing import Final


class ReloadBarrier:
    """A start, and each reload (SIGHUP), calls in a new shift. Shifts are numbered from 1.

    The numbers are written and read in one piece, and only ever rise; a worker that writes over another's of the same
    shift changes nothing.
    """

    def __init__(self) -> None:
        self._numbers: Final = memoryview(mmap.mmap(-1, 16)).cast("Q")  # called in, at work; forks see the same
        self._settings: object = None

    def call(self, settings: object) -> int:
        """Give the shift of a new worker; to be called in gunicorn's master. A reload makes other `settings`."""
        if settings is not self._settings:
            self._settings = settings
            self._numbers[0] += 1
        return self._numbers[0]

    def begin(self, number: int) -> None:
        """One of this shift is at work."""
        self._numbers[1] = max(self._numbers[1], number)

    def awaits_next(self, number: int) -> bool:
        """A later shift is called in, and not yet at work."""
        called, at_work = self._numbers
        return at_work <= number < called


# Made once in gunicorn's master, and kept when a reload reads the rest of the package again (gunicorn_conf.py): the
# workers that are there already know this one. A master that 0.3 started has it under its old name.
_before = sys.modules.get("pushsvc.shifts")
SHIFTS: Final[ReloadBarrier] = ReloadBarrier() if _before is None else _before.SHIFTS
