"""From what was announced to what each connection gets. Sends nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from pushsvc.delivery.channels import Channel, Channels
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import EventId, is_answer

logger = logging.getLogger(__name__)


class Run:
    """Events of one channel that came one after the other."""

    __slots__ = ("answer", "channel", "events", "last")

    def __init__(self, channel: Channel, *, answer: bool) -> None:
        self.channel = channel
        self.answer = answer  # of a model's; nobody has an unread position there
        self.last = False  # no more will come: they are the end of an answer
        self.events: list[EncodedEvent] = []


def parse(payload: bytes) -> tuple[EventId, EventId, bytes, bytes]:
    """An announcement's id, its predecessor's id in the channel, the epoch of the data, and all bytes of the event."""
    raw_id, raw_prev, epoch, frame = payload.split(b" ", 3)
    return EventId.from_redis(raw_id), EventId.from_redis(raw_prev), epoch, sse.with_id(raw_id, frame)


def runs(batch: Iterable[tuple[str, bytes]], channels: Channels) -> tuple[list[Run], dict[str, EventId]]:
    """What can be sent, and the channels in which something may be lost, with the last event before that: their
    subscribers must fall behind first."""
    found: list[Run] = []
    torn: dict[str, EventId] = {}
    for name, payload in batch:
        channel = channels.get(name)
        if channel is None:
            continue
        try:
            event_id, prev, epoch, wire = parse(payload)
        except ValueError:
            logger.warning("something that is no event was published on the Redis channel of %r", name)
            continue
        known = channel.last
        if epoch != channels.epoch:  # of a master that was replaced, or of a new one: the log tells what is true
            torn.setdefault(name, channels.through if known is None else known)
            continue
        if not channel.note(event_id, prev):
            torn.setdefault(name, channels.through if known is None else known)
        if not found or found[-1].channel is not channel:
            found.append(Run(channel, answer=is_answer(name)))
        run = found[-1]
        run.events.append(EncodedEvent(event_id, wire))
        run.last = run.answer and wire.endswith(sse.DONE)
    return found, torn


def plan(found: Sequence[Run]) -> list[tuple[EncodedBatch, Sequence[int]]]:
    """One burst for each settled descriptor: those whom the same runs concern share it."""
    if len(found) == 1:
        return [(EncodedBatch.of(found[0].events), found[0].channel.fds())]
    wanted: dict[int, int] = {}  # a bit for each run
    for number, run in enumerate(found):
        for fd in run.channel.settled:
            wanted[fd] = wanted.get(fd, 0) | 1 << number
    crowds: dict[int, list[int]] = {}
    for fd, mask in wanted.items():
        crowds.setdefault(mask, []).append(fd)
    return [(_joined(found, mask), crowd) for mask, crowd in crowds.items()]


def _joined(found: Sequence[Run], mask: int) -> EncodedBatch:
    events: list[EncodedEvent] = []
    while mask:
        number = mask.bit_length() - 1
        events[:0] = found[number].events
        mask ^= 1 << number
    return EncodedBatch.of(events)
