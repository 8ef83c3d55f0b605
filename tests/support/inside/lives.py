"""A log whose clock a test sets, and what a listener hears of losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pushsvc.events.event import EventId
from pushsvc.storage.acknowledged import Acknowledged
from pushsvc.storage.clock import Clock, Standing
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.epochs import Boundary, EpochHistory
from pushsvc.storage.redis.scripts import Command
from tests.support.clients.eventsource import EventSource


def at(ms: int) -> EventId:
    return EventId(ms, 0)


class Known(EventLog):
    """A log of which only the clock is asked."""

    all_lost = False

    def __init__(self, epochs: bytes, last: int) -> None:
        self.acknowledged = Acknowledged()
        self.clock_now = Clock(EpochHistory(epochs), at(last), 0, 0)
        self.noted: list[tuple[EventId, EventId]] = []

    def probe(self, channels: Sequence[str], users: Sequence[str] = ()) -> Command:
        return ()

    def probed(self, answer: Any, channels: int) -> tuple[Clock, list[EventId], list[Standing]]:
        return self.clock_now, [], []

    def remember_loss(self, boundary: Boundary) -> None:
        pass

    def with_known_losses(self, clock: Clock) -> Clock:
        return clock

    def record_loss(self, boundary: Boundary) -> None:
        self.noted.append(boundary)


def heard(source: EventSource) -> list[str]:
    """The data of events, and the reasons of gaps."""
    return [
        json.loads(message.data)["reason"] if message.event == "gap" else message.data for message in source.messages
    ]
