"""The positions of users: the event up to which each has had everything. They are written soon after the delivery."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

import gevent
import gevent.event

from pushsvc.concurrency.loops import Loop
from pushsvc.delivery.channels import Channel, Channels
from pushsvc.errors import Unavailable, Unwritable
from pushsvc.events.event import EventId
from pushsvc.storage.log import EventLog

BATCH: Final = 500  # users in one script call, so that a call never blocks Redis for long
# Seconds for each user, once when the channel is looked at and once when the position is written. So the writes after
# an event to all are spread out, and another event soon after makes some unnecessary. A single user's write is not
# delayed.
PAUSE_PER_USER: Final = 125e-6
FULL_SECONDS: Final = 1.0  # between two checks whether Redis has room again
SHORTEST_PAUSE: Final = 0.001  # seconds; to sleep for less costs more than it spreads


class Positions:
    """Collects positions while a write is under way, so the rate of writes adapts to what Redis can take."""

    def __init__(self, log: EventLog, channels: Channels) -> None:
        self._log = log
        self._channels = channels
        self._delivered: dict[str, EventId] = {}  # by user; still to be written
        self._moved: dict[Channel, None] = {}  # channels with new events, still to be looked at
        self._channel: Channel | None = None  # the one that is being looked at
        self._looking: Iterator[tuple[str, EventId]] | None = None  # the rest of its users
        self._hurried = False
        self._wake = gevent.event.Event()
        self._idle = gevent.event.Event()
        self._idle.set()
        self.loop = Loop("positions", self._run, expected=(Unavailable,))

    def mark(self, user: str, event_id: EventId) -> None:
        """Note that the user has had everything up to this event."""
        self._note(user, event_id)
        self._work()

    def mark_channel(self, channel: Channel) -> None:
        """Note that an event was sent to the channel. Its users are looked at later, when they may have had more."""
        self._moved[channel] = None
        self._work()

    def is_pending(self, channel: Channel) -> bool:
        """Whether the channel had events since all its users were last looked at."""
        return channel in self._moved or channel is self._channel

    def flush(self, seconds: float) -> bool:
        """Write all positions without pauses. False: that took longer than `seconds`."""
        self._hurried = True
        return bool(self._idle.wait(seconds))

    def _work(self) -> None:
        self._idle.clear()
        self._wake.set()

    def _note(self, user: str, event_id: EventId) -> None:
        known = self._delivered.get(user)
        if known is None or event_id > known:
            self._delivered[user] = event_id

    def _run(self, loop: Loop) -> None:
        while True:
            if self._delivered:
                self._write()
                loop.report_healthy()
            elif self._looking is not None:
                self._look(self._looking)
            elif self._moved:
                self._channel = next(iter(self._moved))
                del self._moved[self._channel]
                self._looking = self._channels.positions_of(self._channel)
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
        batch = dict(islice(self._delivered.items(), BATCH))
        try:
            self._log.advance(batch)
        except Unwritable:  # delivery goes on; positions are written when Redis takes writes again
            gevent.sleep(FULL_SECONDS)
            return
        for user, event_id in batch.items():
            if self._delivered.get(user) == event_id:
                del self._delivered[user]
        self._pause(len(batch))

    def _pause(self, users: int) -> None:
        seconds = users * PAUSE_PER_USER
        if seconds > SHORTEST_PAUSE and not self._hurried:
            gevent.sleep(seconds)
