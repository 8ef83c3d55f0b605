"""From what was announced to who gets which bytes. Knows channels and subscribers; sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pushsvc import sse
from pushsvc.burst import Burst, Live
from pushsvc.event import EventId
from pushsvc.subscriber import Subscriber


class Channel:
    """A channel some subscriber follows. `last`: the newest event known of; what is announced must follow on it."""

    __slots__ = ("last", "left_at", "subscribers")

    def __init__(self) -> None:
        self.subscribers: dict[Subscriber, None] = {}
        self.last: EventId | None = None
        self.left_at = 0.0

    def note(self, event_id: EventId, prev: EventId) -> bool:
        """An event arrives. False: it is not known to follow on the last, so one may be lost."""
        follows = self.last is not None and prev <= self.last
        self.last = event_id if self.last is None else max(self.last, event_id)
        return follows

    def positions(self) -> Iterator[tuple[str, EventId]]:
        """Up to where the users have had everything, as far as the Hub writes to them itself."""
        for subscriber in list(self.subscribers):
            if subscriber.ack and subscriber.outlet.clear:
                yield subscriber.user, subscriber.last


class Run:
    """Events of one channel that came one after the other."""

    __slots__ = ("channel", "events")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.events: list[Live] = []


def parse(payload: bytes) -> tuple[EventId, EventId, bytes]:
    """An announcement's id, its predecessor's id in the channel, and all bytes of the event."""
    raw_id, raw_prev, frame = payload.split(b" ", 2)
    return EventId.from_redis(raw_id), EventId.from_redis(raw_prev), sse.with_id(raw_id, frame)


def runs(batch: Iterable[tuple[str, bytes]], channels: Mapping[str, Channel]) -> tuple[list[Run], list[str]]:
    """What can be sent, and the channels in which something may be lost: their subscribers must fall behind first."""
    found: list[Run] = []
    torn: dict[str, None] = {}
    for name, payload in batch:
        channel = channels.get(name)
        if channel is None:
            continue
        event_id, prev, wire = parse(payload)
        if not channel.note(event_id, prev):
            torn[name] = None
        if not found or found[-1].channel is not channel:
            found.append(Run(channel))
        found[-1].events.append(Live(event_id, wire))
    return found, list(torn)


def plan(found: Sequence[Run]) -> list[tuple[Burst, Sequence[Subscriber]]]:
    """One burst for each subscriber: those whom the same runs concern share it."""
    if len(found) == 1:
        return [(Burst.of(found[0].events), list(found[0].channel.subscribers))]
    wanted: dict[Subscriber, int] = {}  # a bit for each run
    for number, run in enumerate(found):
        for subscriber in run.channel.subscribers:
            wanted[subscriber] = wanted.get(subscriber, 0) | 1 << number
    crowds: dict[int, list[Subscriber]] = {}
    for subscriber, mask in wanted.items():
        crowds.setdefault(mask, []).append(subscriber)
    return [(_joined(found, mask), crowd) for mask, crowd in crowds.items()]


def _joined(found: Sequence[Run], mask: int) -> Burst:
    return Burst.of([event for number, run in enumerate(found) if mask >> number & 1 for event in run.events])
