"""The log: a stream per channel, written by one atomic script, read after a cursor. It decides which events exist."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import gevent
from gevent.monkey import is_module_patched

from pushsvc.concurrency.backoff import Retries
from pushsvc.errors import NotApplied, PushError, Unavailable, WrongType
from pushsvc.events.event import BEGINNING, Event, EventId
from pushsvc.storage.appending import NO_RATES, Appending
from pushsvc.storage.clock import NONE, Clock, Standing, position_in
from pushsvc.storage.counts.rates import Along
from pushsvc.storage.entries import Slice, kept, read_entry
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.epochs import Boundary, EpochHistory, record_loss
from pushsvc.storage.redis.fencing import Fenced
from pushsvc.storage.redis.refusals import refusal
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.retention import Retention

logger = logging.getLogger(__name__)

_CLOCK: Final = Script("log/clock")
_IDS: Final = Script("log/ids")
_ADVANCE: Final = Script("log/advance")

PATIENCE_SECONDS: Final = 3.0  # how long a publish waits during a restart or failover of Redis
EVICTS_SECONDS: Final = 5  # Retry-After while Redis may evict, which an operator must change
_IDS_BYTES: Final = 2**18  # of events that are read for their ids in one go, which takes half a millisecond
EPOCH_BYTES: Final = 42  # the longest id, and a mark


class Receipt(NamedTuple):
    """The result of a publish: the event's id, and whether its key was used before."""

    id: EventId
    duplicate: bool


class Kept(NamedTuple):
    """An event that is kept: its id, and the time in ms that ends its ttl; 0: it has none."""

    id: EventId
    deadline: int


class EventLog:
    """Delivery contract: an event for which `append` returned a receipt is in the log, and each read after an earlier
    cursor returns it, until it is trimmed, expires or its ttl ends."""

    def __init__(self, store: RedisClient, retention: Retention) -> None:
        self._store = store
        self._keys = store.keys
        self._retention = retention
        self._appending = Appending(store, retention)
        self._waiting = 0  # calls that wait for Redis
        self.acknowledged = store.fence.acknowledged

    together: Final = True  # all events go to one Redis

    def append(self, events: Sequence[Event], along: Along = NO_RATES) -> list[Receipt | PushError]:
        """Store and announce, in order, in one round trip; each event is stored completely or not at all. While Redis
        is unreachable, wait a little and retry the events that a retry cannot duplicate. `along`: what the events count
        for; TooManyRequests stands for an event whose topic is one too many. Raises it for a single event that is over
        its publisher's rate."""
        if self._store.evicts:  # an event that Redis may evict is not acknowledged
            return [Unavailable(self._store.evicts, retry_after=EVICTS_SECONDS)] * len(events)
        retries = Retries(PATIENCE_SECONDS)
        receipts = self._append_now(events, along)
        while pending := [number for number, receipt in enumerate(receipts) if isinstance(receipt, NotApplied)]:
            if not retries.wait():
                break
            again = self._append_now([events[number] for number in pending], NO_RATES)  # they may have been counted
            for number, receipt in zip(pending, again, strict=True):
                receipts[number] = receipt
        return receipts

    def _append_now(self, events: Sequence[Event], along: Along) -> list[Receipt | PushError]:
        """Append once. NotApplied stands for each event that may safely be retried."""
        self._waiting += 1
        try:
            answers = self._appending.run(events, along)
        except NotApplied as error:
            return [error] * len(events)
        except Unavailable as error:  # it is unknown whether the append ran; a repeated key does nothing
            again = NotApplied(error.detail, retry_after=error.retry_after)
            return [error if event.key is None else again for event in events]
        finally:
            self._waiting -= 1
        receipts = [self._receipt(event, answer, along) for event, answer in zip(events, answers, strict=True)]
        if self._waiting and is_module_patched("socket"):
            gevent.sleep(0)  # the others of the same round trip note their ids first, so that one write serves all
        self.acknowledged.save()
        return receipts

    def _receipt(self, event: Event, answer: Any, along: Along) -> Receipt | PushError:
        if not isinstance(answer, Exception):
            if not answer[0]:
                return self._over(along, *answer[1:])
            event_id = EventId.from_redis(answer[0])
            # The epoch in the data: after a FLUSHALL it may be another than this process knows.
            epoch = answer[2] if len(answer) > 2 and answer[2] else self._store.fence.epochs.current
            for share in filter(None, along):
                share.rates.note(answer[3].decode() if len(answer) > 3 else None)
            self.acknowledged.note(epoch, event_id)
            return Receipt(event_id, bool(answer[1]))
        error = self._store.refusal(answer)
        if isinstance(error, WrongType):
            logger.error(
                "one of these keys is of a wrong type; delete it: %s", " ".join(map(repr, self._appending.names(event)))
            )
        return error

    @staticmethod
    def _over(along: Along, new: int, met: int, wait_ms: int) -> PushError:
        """The refusal of an event for whose rate append.lua had no room. `new`: its topic's."""
        share = along[new]
        assert share is not None
        refused = share.rates.refusal(met, wait_ms)
        if new:
            return refused
        raise refused

    @property
    def keep_events(self) -> int:
        """The most events that a channel keeps."""
        return self._retention.keep_events

    def clock(self) -> Clock:
        """Read the clock. All events up to `last` can be read; all later ones are yet to be announced. Raises
        Unavailable."""
        answer = self._store.execute_one(_CLOCK.call([self._keys.clock, self._keys.epoch]))
        try:
            return self._clock(*answer)
        except Fenced as error:
            raise self._store.refusal(error) from error

    def probe(self, channels: Sequence[str], users: Sequence[str] = ()) -> Command:
        """The command that reads the clock, these channels' tails and these users' standings, for another connection.
        It works without a loaded script."""
        keys = self._keys
        names = [keys.clock, keys.epoch, *map(keys.tail, channels)]
        if users:
            names += [keys.loss, *map(keys.position, users)]
        return ("EVAL", _CLOCK.source, len(names), *names)

    def probed(self, answer: Sequence[Any], channels: int) -> tuple[Clock, list[EventId], list[Standing]]:
        """Parse the answer to `probe` with so many channels: the clock, the tails and the standings, in order. Raises
        Fenced."""
        clock, rest = self._clock(*answer[:3]), answer[3 + channels :]
        lost = self._store.fence.knows_more(answer[0]) or (len(rest) > 0 and rest[0] != NONE)
        standings = [Standing(position_in(each), lost) for each in rest[1:]]
        return clock, list(map(EventId.from_redis, answer[3 : 3 + channels])), standings

    def _clock(self, raw: bytes, last: bytes, now: int) -> Clock:
        fence = self._store.fence
        if raw != fence.epochs.raw:
            fence.advance_to(EpochHistory(raw))
        return Clock(fence.epochs, EventId.from_redis(last), now, now - self._retention.keep_seconds * 1000)

    @property
    def all_lost(self) -> bool:
        """Whether everything before the birth of this data is lost, and Redis has not recorded that yet."""
        return self._store.fence.all_lost

    def with_known_losses(self, clock: Clock) -> Clock:
        """The same clock, with the losses that became known since it was read."""
        epochs = self._store.fence.epochs
        return clock._replace(epochs=epochs) if epochs.raw == clock.epochs.raw else clock

    def remember_loss(self, boundary: Boundary) -> None:
        """Report to readers of this worker from now on that events were lost at the boundary (BEGINNING: all before its
        second id). Readers elsewhere learn it once `record_loss` has written it."""
        if boundary[0] == BEGINNING:
            self._store.fence.all_lost = True
        else:
            self._store.fence.add_loss(boundary)

    def record_loss(self, boundary: Boundary) -> None:
        """Write to Redis that events were lost at the boundary. It is reported to readers with an earlier cursor, and
        to those without one for as long as the lost events would have been kept."""
        self._store.execute_one(record_loss(self._keys, boundary, self._retention.keep_seconds))
        if boundary[0] == BEGINNING:
            self._store.fence.all_lost = False

    def read(self, channels: Sequence[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
        """The oldest `count` entries of each channel with an id after `after`, ids rising. Raises Unavailable, also
        if the data has left the clock's epoch: then another clock is needed."""
        first = f"({after}" if after.ms >= clock.cutoff else f"{clock.cutoff}-0"
        return self._slices(
            channels,
            clock,
            [("XRANGE", self._keys.log(channel), first, "+", "COUNT", count) for channel in channels],
            count,
        )

    def read_back(self, channel: str, before: EventId, clock: Clock, count: int) -> Slice:
        """The newest `count` entries of the channel with id < before, ids falling."""
        newest = "0-0" if before == BEGINNING else f"({before}"  # Redis refuses `(0-0`; no event has the id 0-0
        command = ("XREVRANGE", self._keys.log(channel), newest, f"{clock.cutoff}-0", "COUNT", count)
        return self._slices([channel], clock, [command], count)[0]

    def _slices(self, channels: Sequence[str], clock: Clock, ranges: Sequence[Command], count: int) -> list[Slice]:
        """Read the tails, then the ranges: a tail's event was in the log, so the range shows the event or its loss.

        Raises Unavailable if the data is not in the clock's epoch: a master that was suspended, and does not know yet
        that it was replaced, lacks the newer events.
        """
        commands: list[Command] = [
            ("GETRANGE", self._keys.epoch, -EPOCH_BYTES, -1),
            *(("GET", self._keys.tail(channel)) for channel in channels),
            *ranges,
        ]
        epoch, *answers = map(kept, commands, self._store.read_each(commands))
        if EpochHistory.latest(epoch or b"") != clock.epochs.current:
            raise Unavailable("Redis is changing its master; try again.", retry_after=1)
        return [
            Slice(
                [read_entry(name, *raw) for raw in entries or ()],
                EventId.from_redis(tail) if tail else BEGINNING,
                whole=len(entries or ()) < count,
            )
            for name, tail, entries in zip(channels, answers[: len(ranges)], answers[len(ranges) :], strict=True)
        ]

    def ids(self, channel: str, after: EventId | None) -> tuple[bool, list[Kept]]:
        """The ids of some events that the channel keeps after one (None: from the oldest), rising, and whether more
        follow. Raises Unavailable."""
        start = "-" if after is None else f"({after}"
        more, *found = self._store.read([_IDS.call([self._keys.log(channel)], start, _IDS_BYTES)])[0]
        pairs = zip(found[::2], found[1::2], strict=True)
        return bool(more), [Kept(EventId.from_redis(each), int(deadline or 0)) for each, deadline in pairs]

    def standing(self, user: str) -> Standing:
        """The user's position, and whether it may be lost. Raises Unavailable."""
        keys, fence = self._keys, self._store.fence
        names = (keys.position(user), keys.loss, keys.epoch)
        position, loss, raw = self._store.execute_each([("GET", name) for name in names])
        if isinstance(position, Exception):
            raise refusal(position) from position
        known = fence.knows_more(raw if isinstance(raw, bytes) else b"")
        return Standing(EventId.from_redis(position) if position else None, known or isinstance(loss, bytes))

    def advance(self, positions: Mapping[str, EventId]) -> None:
        """Move users' positions forward, never back."""
        names = [self._keys.position(user) for user in positions]
        # Kept as long as the tails: without a position, expired events would look like a loss.
        self._store.execute_one(_ADVANCE.call(names, self._retention.tail_seconds, *map(str, positions.values())))
