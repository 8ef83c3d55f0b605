"""Sends announcements to the sockets of all whom they concern."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from pushsvc.concurrency.loops import TimeSlice
from pushsvc.delivery.catch_up import CatchUp, channel_end
from pushsvc.delivery.channels import Channel, Channels
from pushsvc.delivery.endings import Reason
from pushsvc.delivery.lifetimes import Lifetimes
from pushsvc.delivery.positions import Positions
from pushsvc.delivery.subscribers import LOOK
from pushsvc.delivery.transports.detached import write_all
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import EventId
from pushsvc.storage.redis.listener import Announcement

logger = logging.getLogger(__name__)


class Run:
    """Events of one channel that came one after the other."""

    __slots__ = ("channel", "ends", "events")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.ends = False  # the channel ends with them
        self.events: list[EncodedEvent] = []


def parse(payload: bytes) -> tuple[EventId, EventId, bytes, bytes]:
    """Split an announcement: its id, the id of the channel's event before, the epoch of the data, and all bytes of the
    event. Raises ValueError."""
    raw_id, raw_prev, epoch, frame = payload.split(b" ", 3)
    return EventId.from_redis(raw_id), EventId.from_redis(raw_prev), epoch, sse.with_id(raw_id, frame)


def runs(batch: Iterable[tuple[str, bytes]], channels: Channels) -> tuple[list[Run], dict[str, EventId]]:
    """Sort announcements: the events that can be sent, and the channels in which something may be lost, each with the
    last event before that. The followers of those must fall behind first."""
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
            found.append(Run(channel))
        run = found[-1]
        run.events.append(EncodedEvent(event_id, wire))
        run.ends = channel.finite and wire.endswith(sse.DONE)
    return found, torn


def plan(found: Sequence[Run]) -> list[tuple[EncodedBatch, Sequence[int]]]:
    """One batch for each descriptor on the fast path: those whom the same runs concern share it."""
    if len(found) == 1:
        return [(EncodedBatch.of(found[0].events), found[0].channel.fast_fds())]
    wanted: dict[int, int] = {}  # a bit for each run
    for number, run in enumerate(found):
        for fd in run.channel.fast:
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


class Broadcaster:
    """Sends each announcement to all whom it concerns, encoded once. It is the bus's AnnouncementListener."""

    def __init__(self, catch_up: CatchUp, lifetimes: Lifetimes, positions: Positions) -> None:
        self._catch_up = catch_up
        self._lifetimes = lifetimes
        self._positions = positions
        self._channels = lifetimes.subscribers.channels

    def on_messages(self, batch: Sequence[Announcement]) -> None:
        """Send what arrived together."""
        found, torn = runs(batch, self._channels)
        for name, _ in batch:
            self._catch_up.read_cache.invalidate(name)
        turn = TimeSlice()
        for name, known in torn.items():
            for subscriber in self._channels[name].followers():
                self._catch_up.fall_behind(subscriber, name, known)
                turn.yield_if_over()
        if found:
            self._send(found)
        for run in found:
            if run.ends:
                self._end_streams(run)

    def _send(self, found: Sequence[Run]) -> None:
        turn, now = TimeSlice(), time.monotonic()
        sends = plan(found)
        version = self._channels.version
        for run in found:  # before the first turn of others: who joins from now on has had these, or holds them
            run.channel.sent_at = now
            if run.channel.slow:
                self._offer(EncodedBatch.of(run.events), run.channel, now)
        for batch, fds in sends:
            self.write(batch, fds, turn, version)
        self._channels.through = max(self._channels.through, *(run.events[-1].id for run in found))
        for run in found:
            if not run.channel.finite:
                self._positions.mark_channel(run.channel)

    def _offer(self, batch: EncodedBatch, channel: Channel, now: float) -> None:
        """Hand a batch to those that are asked one by one."""
        for subscriber in list(channel.slow):
            if not subscriber.offer(batch, now):
                self._catch_up.fail(subscriber, Reason.SLOW)

    def write(self, batch: EncodedBatch, fds: Sequence[int], turn: TimeSlice, version: int) -> None:
        """Write a batch to the descriptors: the one loop that runs for each event and connection. `version`: that of
        the channels when the descriptors were listed."""
        start = 0
        while start < len(fds):
            if version != self._channels.version:  # a descriptor may have been closed, and be somebody else's by now
                fds, start = [fd for fd in fds[start:] if self._lifetimes.is_on_fast_path(fd)], 0
                version = self._channels.version
            some = fds[start : start + LOOK]
            sent = write_all(some, batch.chunk)
            if sent.count(len(batch.chunk)) != len(some):
                for fd, size in zip(some, sent, strict=True):
                    if size < len(batch.chunk):
                        self._lifetimes.keep_rest(fd, batch.chunk[size:], batch.events[-1].id)
                version = self._channels.version  # by ourselves, and behind us
            start += LOOK
            turn.yield_if_over()

    def _end_streams(self, run: Run) -> None:
        """End the streams of a channel that has ended. One that has not had all of it yet ends when it has."""
        turn, end = TimeSlice(), channel_end(b"".join([event.wire for event in run.events[-2:]]))
        for subscriber in run.channel.followers():
            subscriber.channel_end = end
            if subscriber.catching is None:
                self._lifetimes.end(subscriber, Reason.ENDED)
            turn.yield_if_over()
