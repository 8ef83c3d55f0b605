"""The barrier of a reload, in memory that all workers share: no old worker stops before a new one serves."""

from __future__ import annotations

import mmap
import sys
from typing import Final


class ReloadBarrier:
    """The start, and each reload (SIGHUP), begins a new shift of workers. Shifts are numbered from 1.

    The numbers are written and read atomically, and only rise. Two workers of the same shift write the same number.
    """

    def __init__(self) -> None:
        self._numbers: Final = memoryview(mmap.mmap(-1, 16)).cast("Q")  # newest shift, shift at work; shared with forks
        self._settings: object = None

    def call(self, settings: object) -> int:
        """Give the shift of a new worker; to be called in gunicorn's master. A new `settings` object means a reload."""
        if settings is not self._settings:
            self._settings = settings
            self._numbers[0] += 1
        return self._numbers[0]

    def begin(self, number: int) -> None:
        """Note that a worker of this shift is at work."""
        self._numbers[1] = max(self._numbers[1], number)

    def awaits_next(self, number: int) -> bool:
        """Whether a later shift has been started, and none of its workers is at work yet."""
        called, at_work = self._numbers
        return at_work <= number < called


# Made once in gunicorn's master. A reload loads the other modules of the package again (gunicorn_conf.py), but not this
# one, because the running workers share its memory. A master started by version 0.3 has it under the old module name.
_before = sys.modules.get("pushsvc.shifts")
SHIFTS: Final[ReloadBarrier] = ReloadBarrier() if _before is None else _before.SHIFTS
