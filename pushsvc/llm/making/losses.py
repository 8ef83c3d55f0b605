"""Generations whose worker has died: each is ended, unless another worker goes on with it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from pushsvc.concurrency.loops import LONGEST_PAUSE
from pushsvc.llm.making.succession import Succession
from pushsvc.llm.outcome import PRODUCER_LOST
from pushsvc.llm.record import Record
from pushsvc.storage.counts.presence import BEAT_SECONDS

if TYPE_CHECKING:
    from pushsvc.llm.generations import Generations

logger = logging.getLogger(__name__)

ROUND_SECONDS: Final = 1.0  # between two searches for generations of workers that died
# While Redis is away, or hangs, no worker can give a sign of life. So a worker judges others only after it has seen
# Redis answer for as long as they may need to give one again.
ABSENCE_SECONDS: Final = 2.0
STEADY_SECONDS: Final = LONGEST_PAUSE + BEAT_SECONDS + 0.5


class Losses:
    """Finds such generations. `left`: those that this worker let go, as it stops."""

    def __init__(self, owner: Generations, succession: Succession) -> None:
        self.left: set[str] = set()
        self._owner = owner
        self._succession = succession
        self._worker_id = succession.worker_id
        self._orphans: set[str] = set()  # begun here according to Redis, but not running: Redis's reply was lost
        self._suspects: set[str] = set()  # workers that had given no sign of life at the last search
        self._answered_at = time.monotonic()  # when Redis answered last
        self._steady_since = 0.0

    def look(self) -> None:
        """End generations whose worker has died. A generation is ended only if two searches in a row found it, because
        one that begins is in Redis a moment before it runs here."""
        records = self._owner.records
        mine = set(records.of_worker(self._worker_id)) - self._owner.ids() - self.left
        self._end(mine & self._orphans)
        self._orphans = mine
        silent = set(records.silent()) - {self._worker_id}
        if self._steady():
            for worker in silent & self._suspects:
                self._end(records.of_worker(worker))
                records.forget_worker(worker)
        self._suspects = silent

    def redis_refuses(self) -> None:
        """Take note that Redis takes no writes: other workers cannot give signs of life now either."""
        self._steady_since = time.monotonic()

    def _steady(self) -> bool:
        """Whether Redis has answered without a break for STEADY_SECONDS. To be called whenever it has answered."""
        now = time.monotonic()
        if now - self._answered_at > ROUND_SECONDS + ABSENCE_SECONDS:
            self._steady_since = now
        self._answered_at = now
        return now - self._steady_since > STEADY_SECONDS

    def _end(self, ids: Iterable[str]) -> None:
        for generation_id in ids:
            record = self._owner.records.find(generation_id)
            if record is not None and not self._succession.goes_on(self._owner, record):
                self.lose(self._owner, record)

    @staticmethod
    def lose(owner: Generations, record: Record) -> None:
        """End a generation, unless it has ended."""
        if owner.records.end(record, PRODUCER_LOST) == PRODUCER_LOST.state:
            logger.warning("generation %s was lost with its worker", record.id)
            owner.keeping.keep_answer(record.id)
