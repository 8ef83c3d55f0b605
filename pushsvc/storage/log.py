"""The log: a stream per channel, written by one atomic script, read after a cursor. The truth about every event."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pushsvc.concurrency.backoff import Retries
from pushsvc.errors import NotApplied, PushError, Unavailable, WrongType
from pushsvc.events import sse
from pushsvc.events.event import BEGINNING, Event, EventId
from pushsvc.storage.entries import Slice, kept, read_entry
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.epochs import EpochHistory, Hole, lose
from pushsvc.storage.redis.fencing import Fenced
from pushsvc.storage.redis.refusals import refusal
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.retention import Retention

logger = logging.getLogger(__name__)

_APPEND: Final = Script("append", after="log")
_CLOCK: Final = Script("clock")
_COUNT: Final = Script("count")
_ADVANCE: Final = Script("advance")

PATIENCE_SECONDS: Final = 3.0  # how long a publish waits for a Redis that restarts, or moves
EVICTS_SECONDS: Final = 5  # when to come back to a Redis that an operator has to set right
LIFE_BYTES: Final = 42  # the longest id, and a mark
_NOT_YET: Final = NotApplied("", retry_after=1)


class Receipt(NamedTuple):
    """What became of a publish: the event's id, and whether its key had been used before."""

    id: EventId
    duplicate: bool


class Clock(NamedTuple):
    """Where the log stands: the lives of the data, last id drawn, Redis's wall clock and the oldest time kept (both
    ms)."""

    lives: EpochHistory
    last: EventId
    now: int
    cutoff: int

    @property
    def epoch(self) -> EventId:
        """The first id ever drawn."""
        return self.lives.birth

    def restart(self, cursor: EventId) -> EventId | None:
        """Where a reader goes on whose cursor is not of this data; None: it is.

        Between two lives: the data lost it, and all it has after it is of the later one. Before all, or beyond the
        last: nothing is known of that reader.
        """
        if cursor == BEGINNING:
            return None
        if not self.epoch <= cursor <= self.last:
            return BEGINNING
        hole = self.lives.unowned_range(cursor)
        return None if hole is None else hole[1]


class Standing(NamedTuple):
    """A user's `position`: up to where they have had everything; None: nothing is known. `loss`: not long ago the data
    lost events, so that those may have been theirs, or the position itself."""

    position: EventId | None
    loss: bool

    @property
    def is_lost(self) -> bool:
        return self.position is None and self.loss


class EventLog:
    """Delivery contract: an event that `append` returned a receipt for is in the log, and every reader that asks
    for what is after an earlier cursor gets it, until it is trimmed, expires or its ttl ends."""

    def __init__(self, store: RedisClient, retention: Retention) -> None:
        self._store = store
        self._keys = store.keys
        self._retention = retention
        self.acknowledged = store.succession.acknowledged

    def append(self, events: Sequence[Event]) -> list[Receipt | PushError]:
        """Store and announce, in order, in one round trip; each event by itself is all or nothing. While Redis is away
        this waits a little, and tries again what that cannot double."""
        if self._store.evicts:  # nothing is acknowledged that may vanish without a word
            return [Unavailable(self._store.evicts, retry_after=EVICTS_SECONDS)] * len(events)
        receipts: list[Receipt | PushError] = [_NOT_YET] * len(events)
        retries = Retries(PATIENCE_SECONDS)
        while True:
            waiting = [number for number, receipt in enumerate(receipts) if isinstance(receipt, NotApplied)]
            for number, receipt in zip(waiting, self._append_now([events[n] for n in waiting]), strict=True):
                receipts[number] = receipt
            if not any(isinstance(receipt, NotApplied) for receipt in receipts) or not retries.wait():
                return receipts

    def _append_now(self, events: Sequence[Event]) -> list[Receipt | PushError]:
        """Unreached, where it is harmless to try again."""
        try:
            answers = self._store.kept_each([self._append_command(event) for event in events])
        except NotApplied as error:
            return [error] * len(events)
        except Unavailable as error:  # nobody knows; but a key says whether it was done already
            again = NotApplied(error.detail, retry_after=error.retry_after)
            return [error if event.key is None else again for event in events]
        receipts = [self._receipt(event, answer) for event, answer in zip(events, answers, strict=True)]
        self.acknowledged.save()
        return receipts

    def _append_command(self, event: Event) -> Command:
        retention = self._retention
        return _APPEND.call(
            self._names(event),
            sse.frame(event.name, event.data),
            retention.keep_events,
            retention.keep_seconds,
            retention.tail_seconds,
            event.ttl or 0,
            retention.dedupe_seconds,
        )

    def _names(self, event: Event) -> list[str]:
        """The keys that its appending touches."""
        names = [self._keys.clock, self._keys.epoch, self._keys.log(event.channel), self._keys.tail(event.channel)]
        return names if event.key is None else [*names, self._keys.dedupe(event.channel, event.key)]

    def _receipt(self, event: Event, answer: Any) -> Receipt | PushError:
        if not isinstance(answer, Exception):
            event_id = EventId.from_redis(answer[0])
            # As the data says it: after a FLUSHALL there may be another life before this process hears of it.
            life = answer[2] if len(answer) > 2 else self._store.succession.lives.current
            self.acknowledged.note(life, event_id)
            return Receipt(event_id, bool(answer[1]))
        error = self._store.refusal(answer)
        if isinstance(error, WrongType):
            logger.error("one of these keys is of a wrong type; delete it: %s", " ".join(map(repr, self._names(event))))
        return error

    def clock(self) -> Clock:
        """Where the log stands now. All events up to `last` can be read; all later ones are still to be announced.
        Raises Unavailable."""
        answer = self._store.one(_CLOCK.call([self._keys.clock, self._keys.epoch]))
        try:
            return self._clock(*answer)
        except Fenced as error:
            raise self._store.refusal(error) from error

    def probe(self, channels: Sequence[str]) -> Command:
        """The command that asks for the clock and these channels' tails, for a connection of its own; it needs no
        script to be loaded."""
        names = [self._keys.clock, self._keys.epoch, *map(self._keys.tail, channels)]
        return ("EVAL", _CLOCK.source, len(names), *names)

    def probed(self, answer: Sequence[Any]) -> tuple[Clock, list[EventId]]:
        """What it answers. Raises Fenced."""
        return self._clock(*answer[:3]), [EventId.from_redis(tail) for tail in answer[3:]]

    def _clock(self, epoch: bytes, last: bytes, now: int) -> Clock:
        succession = self._store.succession
        if epoch != succession.lives.raw:
            succession.follow(EpochHistory(epoch))
        return Clock(succession.lives, EventId.from_redis(last), now, now - self._retention.keep_seconds * 1000)

    @property
    def all_lost(self) -> bool:
        """What was before the birth of this data, and Redis does not say so yet."""
        return self._store.succession.all_lost

    def informed(self, clock: Clock) -> Clock:
        """With the losses that became known since it came."""
        lives = self._store.succession.lives
        return clock._replace(lives=lives) if lives.raw == clock.lives.raw else clock

    def lost(self, hole: Hole) -> None:
        """Events were lost between these two lives of the data (BEGINNING: all before the second): who is served here
        from now on is told, and everybody once `lose` has noted it."""
        if hole[0] == BEGINNING:
            self._store.succession.all_lost = True
        else:
            self._store.succession.lose(hole)

    def lose(self, hole: Hole) -> None:
        """Note it: whoever comes back from before shall be told; and who brings no cursor, as long as what was lost
        would have been kept."""
        self._store.one(lose(self._keys, hole, self._retention.keep_seconds))
        if hole[0] == BEGINNING:
            self._store.succession.all_lost = False

    def read(self, channels: Sequence[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
        """The oldest `count` entries of each channel with an id after `after`, ids rising. Raises Unavailable, also
        if the data is not in the life of the clock any more: then another clock is needed."""
        first = f"({after}" if after.ms >= clock.cutoff else f"{clock.cutoff}-0"
        return self._slices(
            channels, clock, [("XRANGE", self._keys.log(channel), first, "+", "COUNT", count) for channel in channels]
        )

    def read_back(self, channel: str, before: EventId, clock: Clock, count: int) -> Slice:
        """The newest `count` entries of the channel with id < before, ids falling."""
        command = ("XREVRANGE", self._keys.log(channel), f"({before}", f"{clock.cutoff}-0", "COUNT", count)
        return self._slices([channel], clock, [command])[0]

    def _slices(self, channels: Sequence[str], clock: Clock, ranges: Sequence[Command]) -> list[Slice]:
        """Tails first: what a tail names was in the log then, so a range that is read later shows it, or its loss.

        And in the clock's life of the data: a master that wakes up, and does not know yet that it was replaced, lacks
        what came since. Raises Unavailable.
        """
        commands: list[Command] = [
            ("GETRANGE", self._keys.epoch, -LIFE_BYTES, -1),
            *(("GET", self._keys.tail(channel)) for channel in channels),
            *ranges,
        ]
        life, *answers = map(kept, commands, self._store.read_each(commands))
        if EpochHistory.latest(life or b"") != clock.lives.current:
            raise Unavailable("Redis is changing its master; try again.", retry_after=1)
        return [
            Slice([read_entry(*raw) for raw in entries or ()], EventId.from_redis(tail) if tail else BEGINNING)
            for tail, entries in zip(answers[: len(ranges)], answers[len(ranges) :], strict=True)
        ]

    def count_after(self, channels: Sequence[str], after: EventId | None, clock: Clock) -> int:
        """How many events the channels keep after a position (None: from the beginning)."""
        start = "-" if after is None else f"({after}"
        return int(self._store.one(_COUNT.call([self._keys.log(c) for c in channels], start, clock.cutoff, clock.now)))

    def standing(self, user: str) -> Standing:
        """Raises Unavailable."""
        keys, succession = self._keys, self._store.succession
        names = (keys.position(user), keys.loss, keys.epoch)
        position, loss, epoch = self._store.each([("GET", name) for name in names])
        if isinstance(position, Exception):
            raise refusal(position) from position
        known = succession.knows_more(epoch if isinstance(epoch, bytes) else b"")
        return Standing(EventId.from_redis(position) if position else None, known or isinstance(loss, bytes))

    def advance(self, positions: Mapping[str, EventId]) -> None:
        """Move users' positions forward; one that is already further stays."""
        names = [self._keys.position(user) for user in positions]
        # As long as the tails: without a position, what has expired since would look like a loss.
        self._store.one(_ADVANCE.call(names, self._retention.tail_seconds, *map(str, positions.values())))
