"""Events and subscribers for tests of delivery that need no server."""

from __future__ import annotations

from pushsvc.delivery.subscriber import Subscriber
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.log import Clock
from pushsvc.storage.redis.epochs import EpochHistory


def at(number: int) -> EventId:
    return EventId(1000, number)


def live(*numbers: int) -> list[EncodedEvent]:
    return [EncodedEvent(at(number), b"%d;" % number) for number in numbers]


class Taken:
    """An outlet that keeps what it gets, as long as it has room."""

    detached = False
    clear = True

    def __init__(self, room: bool = True) -> None:
        self.room = room
        self.wires: list[bytes] = []

    def send(self, burst: EncodedBatch) -> bool:
        if self.room:
            self.wires.append(burst.wire)
        return self.room

    def wake(self) -> None: ...

    def end(self, farewell: bytes, *, whole: bool) -> bool:
        return True

    def cut(self) -> None: ...

    def stuck(self, now: float, behind: bool, patience: float) -> bool:
        return False


def subscriber(*channels: str, after: EventId = BEGINNING) -> tuple[Subscriber, Taken]:
    outlet = Taken()
    return Subscriber("u", channels, after, outlet), outlet


CLOCK = Clock(EpochHistory(b"0-0"), at(5), 2_000, 0)
