"""Remembers, a moment after delivery, up to where each user has had everything."""

from __future__ import annotations

from itertools import islice
from typing import Final

import gevent
import gevent.event

from pushsvc.errors import Unavailable
from pushsvc.event import EventId
from pushsvc.eventlog import EventLog
from pushsvc.loops import Loop

BATCH: Final = 500  # users in one script call, so that Redis is never held for long
PAUSE_PER_USER: Final = 50e-6  # seconds; after an event to everybody the writing is spread out, a single one is not


class Positions:
    """Collects while a write is under way, so the rate of writes adapts to what Redis takes."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._had: dict[str, EventId] = {}
        self._wake = gevent.event.Event()
        self._idle = gevent.event.Event()
        self._idle.set()
        self.loop = Loop("positions", self._run, expected=(Unavailable,))

    def mark(self, user: str, event_id: EventId) -> None:
        """The user has had everything up to this event."""
        had = self._had.get(user)
        if had is None or event_id > had:
            self._had[user] = event_id
            self._idle.clear()
            self._wake.set()

    def flush(self, seconds: float) -> bool:
        """Wait until all is written; False if it was not within `seconds`."""
        return bool(self._idle.wait(seconds))

    def _run(self, loop: Loop) -> None:
        while True:
            loop.well()
            if not self._had:
                self._idle.set()
                self._wake.clear()
                self._wake.wait()
            else:
                batch = dict(islice(self._had.items(), BATCH))
                self._log.advance(batch)
                for user, event_id in batch.items():
                    if self._had.get(user) == event_id:
                        del self._had[user]
                gevent.sleep(len(batch) * PAUSE_PER_USER)
