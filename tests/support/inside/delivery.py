"""Events and subscribers for tests of delivery that need no server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pushsvc.config import Settings
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.redis.epochs import EpochHistory


def at(number: int) -> EventId:
    return EventId(1000, number)


def live(*numbers: int) -> list[EncodedEvent]:
    return [EncodedEvent(at(number), b"%d;" % number) for number in numbers]


class Taken:
    """A transport that keeps what it gets, as long as it has room."""

    detached = False
    drained = True

    def __init__(self, room: bool = True) -> None:
        self.room = room
        self.wires: list[bytes] = []

    def send(self, batch: EncodedBatch) -> bool:
        if self.room:
            self.wires.append(batch.wire)
        return self.room

    def wake(self) -> None: ...

    def finish(self, farewell: bytes, *, whole: bool) -> bool:
        return True

    def abort(self) -> None: ...

    def is_stalled(self, now: float, *, behind: bool, patience: float) -> bool:
        return False


def subscriber(*channels: str, after: EventId = BEGINNING) -> tuple[Subscriber, Taken]:
    transport = Taken()
    return Subscriber("u", channels, after, transport), transport


def make_hub(log: Any = None) -> Hub:
    """A Hub without Redis."""
    nothing: Any = SimpleNamespace(request_clock=lambda: None)
    return Hub(log or nothing, nothing, nothing, Capacity(10, lambda: 0), Settings())


def clock_comes(hub: Hub, through: EventId, epoch: bytes) -> bool:
    """Whether a clock that was asked for when this had been heard tells of a loss."""
    channels, before = hub.subscribers.channels, hub.losses
    channels.through, channels.epoch = through, epoch
    _, answered = hub.catch_up.probe()
    answered(None)
    return hub.losses > before


CLOCK = Clock(EpochHistory(b"0-0"), at(5), 2_000, 0)
