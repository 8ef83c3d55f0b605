"""Remembers, a moment after delivery, up to where each user has had everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import gevent
import gevent.event

from pushsvc.concurrency.loops import Loop
from pushsvc.delivery.channels import Channel
from pushsvc.errors import Unavailable, Unwritable
from pushsvc.events.event import EventId
from pushsvc.storage.log import EventLog

BATCH: Final = 500  # users in one script call, so that Redis is never held for long
# Seconds, once for looking and once for writing: what follows an event to everybody is spread out, and an event a
# moment later saves the first one's writes; a single user's is not delayed.
PAUSE_PER_USER: Final = 125e-6
FULL_SECONDS: Final = 1.0  # between two looks whether Redis has room again
SHORTEST_PAUSE: Final = 0.001  # seconds; to sleep for less costs more than it spreads


class Positions:
    """Collects while a write is under way or spread out, so the rate of writes adapts to what Redis takes."""

    def __init__(self, log: EventLog, look: Callable[[Channel], Iterator[tuple[str, EventId]]]) -> None:
        """`look` gives a channel's users, and up to where each has had everything."""
        self._log = log
        self._look_at = look
        self._had: dict[str, EventId] = {}
        self._moved: dict[Channel, None] = {}
        self._channel: Channel | None = None  # is being looked at
        self._looking: Iterator[tuple[str, EventId]] | None = None
        self._hurried = False
        self._wake = gevent.event.Event()
        self._idle = gevent.event.Event()
        self._idle.set()
        self.loop = Loop("positions", self._run, expected=(Unavailable,))

    def mark(self, user: str, event_id: EventId) -> None:
        """The user has had everything up to this event."""
        self._note(user, event_id)
        self._work()

    def moved(self, channel: Channel) -> None:
        """Everybody on it has had something: looked at later, as they may have had more by then."""
        self._moved[channel] = None
        self._work()

    def owes(self, channel: Channel) -> bool:
        """It was moved, and may not have been looked at since."""
        return channel in self._moved or channel is self._channel

    def flush(self, seconds: float) -> bool:
        """Write all without a pause; False if it was not done within `seconds`."""
        self._hurried = True
        return bool(self._idle.wait(seconds))

    def _work(self) -> None:
        self._idle.clear()
        self._wake.set()

    def _note(self, user: str, event_id: EventId) -> None:
        had = self._had.get(user)
        if had is None or event_id > had:
            self._had[user] = event_id

    def _run(self, loop: Loop) -> None:
        while True:
            if self._had:
                self._write()
                loop.report_healthy()
            elif self._looking is not None:
                self._look(self._looking)
            elif self._moved:
                self._channel = next(iter(self._moved))
                del self._moved[self._channel]
                self._looking = self._look_at(self._channel)
            else:
                self._idle.set()
                self._wake.clear()
                loop.report_healthy()
                self._wake.wait()

    def _look(self, channel: Iterator[tuple[str, EventId]]) -> None:
        piece = list(islice(channel, BATCH))
        for user, event_id in piece:
            self._note(user, event_id)
        if not piece:
            self._channel = self._looking = None
        self._pause(len(piece))

    def _write(self) -> None:
        batch = dict(islice(self._had.items(), BATCH))
        try:
            self._log.advance(batch)
        except Unwritable:  # who listens is served all the same
            gevent.sleep(FULL_SECONDS)
            return
        for user, event_id in batch.items():
            if self._had.get(user) == event_id:
                del self._had[user]
        self._pause(len(batch))

    def _pause(self, users: int) -> None:
        seconds = users * PAUSE_PER_USER
        if seconds > SHORTEST_PAUSE and not self._hurried:
            gevent.sleep(seconds)
