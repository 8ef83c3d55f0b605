"""Whether Redis has lost events, as far as this worker can know, and the note of it for who is elsewhere, or away."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

import gevent
import gevent.event

from pushsvc.errors import PushError
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.log import Clock, EventLog
from pushsvc.storage.redis.epochs import EpochHistory, Hole
from pushsvc.storage.redis.fencing import MOST_LIVES

logger = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 0.5  # between two tries to note a loss, while Redis refuses it


class Losses:
    """Compares each clock with all that this worker heard of, or acknowledged, before it was asked for."""

    def __init__(self, log: EventLog, ask: Callable[[], None]) -> None:
        """`ask` for another clock."""
        self._log = log
        self._ask = ask
        self._told = BEGINNING  # all who are here know of the losses before this
        # The newest ids that were acknowledged, by life, when the probe left: its answer must know of them.
        self._acknowledged: dict[bytes, EventId] = {}
        self._life: bytes | None = None  # of the data, when the clock came last
        self._birth = BEGINNING  # of that data; that nothing before it is left was told then
        self._inherits = True  # what others acknowledged that have ended counts too: looked for with each new life
        self._owed: dict[Hole, None] = {}  # that are yet to be noted
        self._missed = BEGINNING  # the newest id that is known to be gone, of a life whose end Redis could not note yet
        self.unclear = False  # what was found last: the cursor of a reader does not tell whether it lies before that
        self.count = 0  # how often a loss was found; who did not look since then does not know of it
        self._noting: gevent.Greenlet | None = None
        self._wake = gevent.event.Event()
        self._told_of: deque[Hole] = deque(maxlen=MOST_LIVES)  # who is here

    def probe_leaves(self) -> None:
        if self._inherits:
            self._inherits = False
            self._log.acknowledged.inherit(self._birth)
        self._acknowledged = self._log.acknowledged.newest()

    def found(self, through: EventId, life: bytes, clock: Clock) -> bool:
        """Whether the data has lost events since the clock before, which was of this `life` of it, when all up to
        `through` had been announced here; what was acknowledged here counts as well. If nobody knows yet, it is noted,
        so that those who are elsewhere, or away, are told too."""
        told, self._told = self._told, max(self._told, clock.lives.healed)
        others_said = through != BEGINNING and self._told > told
        known = self._acknowledged
        self.unclear = False
        found = [self._is_lost(newest, of, clock) for of, newest in ((life, through), *known.items())]
        found.append(self._is_reborn(clock))
        if not self._owed:  # else the others, and who comes after this process, shall know before Redis does
            self._log.acknowledged.forget(known, but=clock.lives.current)
            self._log.acknowledged.save()
        if self._life not in (None, clock.lives.current):
            self._inherits = True
            self._ask()
        self._life, self._birth = clock.lives.current, clock.epoch
        self.count += any(found) or others_said
        return any(found) or others_said

    def _is_lost(self, newest: EventId, life: bytes, clock: Clock) -> bool:
        """Whether the data lacks an event that was heard or acknowledged in this life of it."""
        hole = clock.lives.end(life)
        if hole is not None and newest > hole[1]:  # it is of a master that had been replaced
            self.unclear = True
        else:
            if clock.restart(newest) is None:
                return False
            hole = clock.lives.unowned_range(newest)
            if hole is None and life == clock.lives.current:  # it is over, and will be known to be
                if newest <= self._missed:
                    return False
                self._missed, self.unclear = newest, True
                self._log.acknowledged.note(life, newest)
            elif hole is None:
                hole = BEGINNING, clock.epoch
        if hole in self._told_of or (
            hole is not None and hole[0] != BEGINNING and EpochHistory(clock.lives.raw).says(hole)
        ):
            return False  # what Redis says is told as that
        logger.error("redis has lost events: it has stood at %s, and now stands at %s", newest, clock.last)
        self._tell(hole or (BEGINNING, clock.epoch))
        return True

    def _is_reborn(self, clock: Clock) -> bool:
        """Whether nothing is left of what others of this machine acknowledged, and who is here does not know."""
        hole = BEGINNING, clock.epoch
        if not self._log.all_lost:
            return False
        if hole in self._told_of:
            self._note(hole)  # it may have been, before that was heard of again
            return False
        self._tell(hole)
        return True

    def _tell(self, hole: Hole) -> None:
        self._told = max(self._told, hole[1])
        self._told_of.append(hole)
        self._note(hole)

    def _note(self, hole: Hole) -> None:
        self._log.lost(hole)
        self._owed[hole] = None
        self._wake.set()
        if self._noting is None or self._noting.dead:
            self._noting = gevent.spawn(self._write)

    def _write(self) -> None:
        """What refuses this, as too few replicas after a failover do, may be over before anybody comes back."""
        said = False
        while self._owed:
            hole = next(iter(self._owed))
            self._wake.clear()
            try:
                self._log.lose(hole)
            except PushError as error:
                if not said:
                    logger.error("that could not be noted yet: %s", error)
                said = True
                self._owed[hole] = self._owed.pop(hole)  # the others first
                self._wake.wait(AGAIN_SECONDS)
            else:
                del self._owed[hole]
