"""Sends announced events to the sockets of all subscribers of their channels."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from pushsvc import metrics
from pushsvc.concurrency.loops import TimeSlice, give_turn
from pushsvc.delivery import trails
from pushsvc.delivery.catch_up import CatchUp
from pushsvc.delivery.channels import Channel, Channels
from pushsvc.delivery.endings import Reason, channel_end
from pushsvc.delivery.lifetimes import Lifetimes
from pushsvc.delivery.positions import Positions
from pushsvc.delivery.subscribers import LOOK
from pushsvc.delivery.transports.detached import write_all
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import EventId
from pushsvc.storage.redis.subscription.listener import Announcement

logger = logging.getLogger(__name__)


class Run:
    """Events of one channel that were announced one directly after the other."""

    __slots__ = ("channel", "ends", "events")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.ends = False  # whether the channel ends with these events
        self.events: list[EncodedEvent] = []


def parse(payload: bytes) -> tuple[EventId, EventId, bytes, bytes]:
    """Split an announcement into the event's id, the id of the channel's event before it, the epoch of the data, and
    the bytes of the event. Raises ValueError."""
    raw_id, raw_prev, epoch, frame = payload.split(b" ", 3)
    return EventId.from_redis(raw_id), EventId.from_redis(raw_prev), epoch, sse.with_id(raw_id, frame)


def runs(batch: Iterable[tuple[str, bytes]], channels: Channels) -> tuple[list[Run], dict[str, EventId]]:
    """Sort announcements into the events that can be sent, and the channels in which an event may be lost, each with
    the last event before the loss. The followers of these channels must fall behind before anything is sent."""
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
        if epoch != channels.epoch:  # it comes from a replaced master, or from a new one: only the log can tell
            torn.setdefault(name, channels.through if known is None else known)
            continue
        if not channel.note(event_id, prev):
            torn.setdefault(name, channels.through if known is None else known)
        if not found or found[-1].channel is not channel:
            found.append(Run(channel))
        run = found[-1]
        run.events.append(EncodedEvent(event_id, wire, name))
        run.ends = channel.finite and wire.endswith(sse.DONE)
    return found, torn


def plan(found: Sequence[Run]) -> list[tuple[EncodedBatch, Sequence[int]]]:
    """Make one batch for each descriptor on the fast path. Descriptors that get the same runs share a batch; those of
    WebSockets get it as frames."""
    if len(found) == 1:
        batch, channel = EncodedBatch.of(found[0].events), found[0].channel
        sends: list[tuple[EncodedBatch, Sequence[int]]] = [(batch, channel.fast_fds())]
        if channel.framed:
            sends.append((batch.framed(), list(channel.framed)))
        return sends
    sends = [(_joined(found, mask), crowd) for mask, crowd in _crowds([run.channel.fast for run in found])]
    if any(run.channel.framed for run in found):
        crowds = _crowds([run.channel.framed for run in found])
        sends += [(_joined(found, mask).framed(), crowd) for mask, crowd in crowds]
    return sends


def _crowds(of_each_run: Sequence[Iterable[int]]) -> Iterable[tuple[int, list[int]]]:
    """The descriptors that get the same runs, with a bit for each run that they get."""
    wanted: dict[int, int] = {}
    for number, fds in enumerate(of_each_run):
        for fd in fds:
            wanted[fd] = wanted.get(fd, 0) | 1 << number
    crowds: dict[int, list[int]] = {}
    for fd, mask in wanted.items():
        crowds.setdefault(mask, []).append(fd)
    return crowds.items()


def _joined(found: Sequence[Run], mask: int) -> EncodedBatch:
    events: list[EncodedEvent] = []
    while mask:
        number = mask.bit_length() - 1
        events[:0] = found[number].events
        mask ^= 1 << number
    return EncodedBatch.of(events)


def _told(found: Sequence[Run]) -> list[dict[str, Any]]:
    """The fields that are logged of these events, without those of answers, which are many."""
    runs_told = [run for run in found if not run.channel.finite]
    return [line for run in runs_told for line in trails.receiving(run.events, run.channel.followers())]


class Broadcaster:
    """Sends each announced event, encoded once, to all subscribers of its channel. It is the AnnouncementListener."""

    def __init__(self, catch_up: CatchUp, lifetimes: Lifetimes, positions: Positions) -> None:
        self._catch_up = catch_up
        self._lifetimes = lifetimes
        self._positions = positions
        self._channels = lifetimes.subscribers.channels

    def on_messages(self, batch: Sequence[Announcement]) -> None:
        """Send the announcements that arrived together."""
        if self._channels.waiting:
            give_turn()  # before the next batch, or who waits might do so for as long as there is always another
        found, torn = runs(batch, self._channels)
        for name, _ in batch:
            self._catch_up.read_cache.invalidate(name)
        if torn:
            metrics.HEALS.inc(len(torn))
        turn = TimeSlice()
        for name, known in torn.items():
            for subscriber in self._channels[name].followers():
                self._catch_up.fall_behind(subscriber, name, known)
                turn.yield_if_over()
        if found:
            told = _told(found) if trails.wanted() else ()
            with self._channels.writing():
                self._send(found)
            trails.delivered(told)
        for run in found:
            if run.ends:
                self._end_streams(run)

    def _send(self, found: Sequence[Run]) -> None:
        turn, now = TimeSlice(), time.monotonic()
        sends, delivered = plan(found), 0
        version = self._channels.version
        for run in found:  # before other greenlets run: a subscriber that joins later reads these events, or holds them
            run.channel.sent_at = now
            if run.channel.slow:
                delivered += len(run.events) * len(run.channel.slow)
                self._offer(EncodedBatch.of(run.events), run.channel, now)
        for batch, fds in sends:
            self.write(batch, fds, turn, version)
            delivered += len(batch.events) * len(fds)
        metrics.DELIVERED.inc(delivered)
        metrics.DELIVERY.observe(max(0.0, time.time() - found[0].events[0].id.ms / 1000))
        self._channels.through = max(self._channels.through, *(run.events[-1].id for run in found))
        for run in found:
            if not run.channel.finite:
                self._positions.mark_channel(run.channel)

    def _offer(self, batch: EncodedBatch, channel: Channel, now: float) -> None:
        """Offer a batch to the channel's subscribers on the slow path."""
        for subscriber in list(channel.slow):
            if not subscriber.offer(batch, now):
                self._catch_up.fail(subscriber, Reason.SLOW)

    def write(self, batch: EncodedBatch, fds: Sequence[int], turn: TimeSlice, version: int) -> None:
        """Write a batch to the descriptors. This loop runs for each event and connection. `version`: Channels.version
        when the descriptors were listed."""
        start = 0
        while start < len(fds):
            if version != self._channels.version:  # a descriptor may have been closed, and reused for another client
                fds, start = [fd for fd in fds[start:] if self._lifetimes.is_on_fast_path(fd)], 0
                version = self._channels.version
            some = fds[start : start + LOOK]
            sent = write_all(some, batch.chunk)
            if sent.count(len(batch.chunk)) != len(some):
                for fd, size in zip(some, sent, strict=True):
                    if size < len(batch.chunk):
                        self._lifetimes.keep_rest(fd, batch.chunk[size:], batch.events[-1].id)
                version = self._channels.version  # changed by `keep_rest`, for descriptors that are done
            start += LOOK
            turn.yield_if_over()

    def _end_streams(self, run: Run) -> None:
        """End the streams of a channel that has ended. A subscriber that is catching up ends when it has had all."""
        turn, end = TimeSlice(), channel_end(b"".join([event.wire for event in run.events[-2:]]))
        for subscriber in run.channel.followers():
            subscriber.channel_end = end
            if subscriber.catching is None:
                self._lifetimes.end(subscriber, Reason.ENDED)
            turn.yield_if_over()
