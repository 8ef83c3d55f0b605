"""Background loops that never die silently: they log, turn readiness red, and start again with backoff."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import gevent

from pushsvc.concurrency.backoff import Backoff
from pushsvc.errors import NoRights

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.1  # seconds before the first restart, doubled up to
LONGEST_PAUSE: Final = 2.0
SAME_SECONDS: Final = 1.0  # between two equal log lines
REMIND_SECONDS: Final = 60.0  # the same, for a loop whose pause is the longest
MOST_TOLD: Final = 1000  # most log lines that are remembered
_NEXT_TURN: Final = 1e-6  # seconds; any time that is not 0
TURN_SECONDS: Final = 0.01  # how long work may run before it yields to other greenlets
SHORT_TURN_SECONDS: Final = 0.002  # the same, where many may be at the same work, and nobody waits for it


class Loop:
    """Runs `body` for ever in a greenlet. A body that returns or raises has failed, and runs again after a pause.

    The body calls `report_healthy()` whenever it has done its work; until then, and after a failure, `healthy` is
    False.
    """

    def __init__(self, name: str, body: Callable[[Loop], None], *, expected: tuple[type[Exception], ...]) -> None:
        """`expected`: errors from outside, such as an unreachable Redis; they are logged in one line without a
        traceback."""
        self.name = name
        self.healthy = False
        self.refused: NoRights | None = None  # the last failure, if it was a missing right
        self._body = body
        self._expected = expected
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Start the greenlet, once."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Kill the greenlet. Harmless when repeated."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
        self.healthy = False

    def report_healthy(self) -> None:
        """Report that the body works. The next pause is the first again."""
        self.healthy, self.refused = True, None
        self._backoff.reset()

    def _run(self) -> None:
        while True:
            try:
                self._body(self)
                logger.error("loop %s ended; restarting", self.name)
                pause = self._backoff.next_pause()
            except Exception as error:  # the loop must restart after any error
                pause = self._backoff.next_pause()
                self.refused = error if isinstance(error, NoRights) else None
                bug = not isinstance(error, self._expected)
                line = f"loop {self.name}: {error}; restarting in {pause:.1f} s"
                if bug or is_news(line, REMIND_SECONDS if pause == LONGEST_PAUSE else SAME_SECONDS):
                    logger.error("%s", line, exc_info=bug)
            self.healthy = False
            gevent.sleep(pause)


_told: Final[dict[str, float]] = {}  # when each line was logged last, monotonic


def is_news(line: str, seconds: float) -> bool:
    """Whether no caller, in any partition, has logged the line in the last `seconds`. If so, the line counts as logged
    now."""
    now = time.monotonic()
    if now - _told.get(line, float("-inf")) < seconds:
        return False
    if len(_told) >= MOST_TOLD:
        _told.clear()
    _told[line] = now
    return True


def give_turn() -> None:
    """Let the event loop look for what has arrived, and others handle it. `gevent.sleep(0)` is not enough: the loop
    runs up to fifty greenlets that are ready before it looks, and a greenlet that sleeps so is ready at once."""
    gevent.sleep(_NEXT_TURN)


class TimeSlice:
    """The time for which work that never blocks may run before it yields to other greenlets."""

    def __init__(self, seconds: float = TURN_SECONDS) -> None:
        self._seconds = seconds
        self._began = time.monotonic()

    def restart(self) -> None:
        """Begin anew, because the work is about to wait."""
        self._began = time.monotonic()

    def yield_if_over(self) -> bool:
        """Yield to the other greenlets if the time is over: True. They may change shared state meanwhile."""
        if time.monotonic() - self._began <= self._seconds:
            return False
        self._give()
        self._began = time.monotonic()
        return True

    def _give(self) -> None:
        give_turn()
