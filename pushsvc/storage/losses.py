"""Detects losses of events in Redis, as far as this worker can, and records them for other workers and absent
readers."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

import gevent
import gevent.event

from pushsvc.errors import PushError
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.epochs import Boundary, EpochHistory
from pushsvc.storage.redis.fencing import MOST_EPOCHS
from pushsvc.storage.redis.subscription.pubsub import PubSub

logger = logging.getLogger(__name__)

AGAIN_SECONDS: Final = 0.5  # between two attempts to record a loss, while Redis refuses it


class Losses:
    """Compares each clock with all ids that this worker received or acknowledged before it requested that clock."""

    def __init__(self, log: EventLog, bus: PubSub) -> None:
        self._log = log
        self._bus = bus
        self._told = BEGINNING  # all connected readers were told of the losses before this
        # The newest ids that were acknowledged, by epoch, when the clock was requested: the clock must include them.
        self._acknowledged: dict[bytes, EventId] = {}
        self._epoch: bytes | None = None  # of the clock before
        self._birth = BEGINNING  # of that clock; a loss of everything before it was reported then
        self._inherits = True  # with each new epoch: look for what ended processes have acknowledged
        self._owed: dict[Boundary, None] = {}  # losses yet to be recorded, in order
        self._missed = BEGINNING  # newest id known to be lost, of an epoch whose end Redis could not record yet
        self.unclear = False  # whether a reader's cursor does not show if it lies before the last loss
        self.count = 0  # losses found so far; readers compare it to notice new ones
        self._noting: gevent.Greenlet | None = None
        self._wake = gevent.event.Event()
        self._told_of: deque[Boundary] = deque(maxlen=MOST_EPOCHS)  # losses that all readers here were told of

    def probe_leaves(self) -> None:
        """Remember all ids acknowledged by now. Called when a clock is requested: the clock must include them."""
        if self._inherits:
            self._inherits = False
            self._log.acknowledged.inherit(self._birth)
        self._acknowledged = self._log.acknowledged.newest()

    def found(self, through: EventId, epoch: bytes, clock: Clock) -> bool:
        """Whether Redis has lost events since the previous clock reading, which was in this `epoch`. `through`: the
        last event that was announced here by then; acknowledged events count as well. A loss that is not recorded yet
        is recorded, so that it is reported to other workers' and absent readers too."""
        told, self._told = self._told, max(self._told, clock.epochs.whole_since)
        others_said = through != BEGINNING and self._told > told
        known = self._acknowledged
        self.unclear = False
        found = [self._is_lost(newest, of, clock) for of, newest in ((epoch, through), *known.items())]
        found.append(self._is_reborn(clock))
        if not self._owed:  # else the ids are kept for other workers, and for the next process
            self._log.acknowledged.forget(known, but=clock.epochs.current)
            self._log.acknowledged.save()
        if self._epoch not in (None, clock.epochs.current):
            self._inherits = True
            self._bus.request_clock()
        self._epoch, self._birth = clock.epochs.current, clock.birth
        self.count += any(found) or others_said
        return any(found) or others_said

    def _is_lost(self, newest: EventId, epoch: bytes, clock: Clock) -> bool:
        """Whether the data lacks an event that was received or acknowledged in this epoch."""
        boundary = clock.epochs.end_of(epoch)
        if boundary is not None and newest > boundary[1]:  # the id was drawn by a master that had been replaced
            self.unclear = True
        else:
            if clock.restart(newest) is None:
                return False
            boundary = clock.epochs.unowned_range(newest)
            if boundary is None and epoch == clock.epochs.current:  # the epoch has ended, and Redis will record that
                if newest <= self._missed:
                    return False
                self._missed, self.unclear = newest, True
                self._log.acknowledged.note(epoch, newest)
            elif boundary is None:
                boundary = BEGINNING, clock.birth
        if boundary in self._told_of or (
            boundary is not None and boundary[0] != BEGINNING and EpochHistory(clock.epochs.raw).knows_loss_at(boundary)
        ):
            return False  # each reader learns of a recorded loss by its cursor
        logger.error("redis has lost events: it has stood at %s, and now stands at %s", newest, clock.last)
        self._tell(boundary or (BEGINNING, clock.birth))
        return True

    def _is_reborn(self, clock: Clock) -> bool:
        """Whether all events that other workers of this machine acknowledged are lost, unreported to the readers
        here."""
        boundary = BEGINNING, clock.birth
        if not self._log.all_lost:
            return False
        if boundary in self._told_of:
            self._note(boundary)  # all_lost was set anew after the record
            return False
        self._tell(boundary)
        return True

    def _tell(self, boundary: Boundary) -> None:
        self._told = max(self._told, boundary[1])
        self._told_of.append(boundary)
        self._note(boundary)

    def _note(self, boundary: Boundary) -> None:
        self._log.remember_loss(boundary)
        self._owed[boundary] = None
        self._wake.set()
        if self._noting is None or self._noting.dead:
            self._noting = gevent.spawn(self._write)

    def _write(self) -> None:
        """Record losses until Redis takes them. A refusal may be temporary, such as too few replicas after a
        failover."""
        said = False
        while self._owed:
            boundary = next(iter(self._owed))
            self._wake.clear()
            try:
                self._log.record_loss(boundary)
            except PushError as error:
                if not said:
                    logger.error("that could not be noted yet: %s", error)
                said = True
                self._owed[boundary] = self._owed.pop(boundary)  # the others first
                self._wake.wait(AGAIN_SECONDS)
            else:
                del self._owed[boundary]
