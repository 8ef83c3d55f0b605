"""Calls of the scripts that append events: what a caller appends together shares calls; each event has an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pushsvc.events import sse
from pushsvc.events.event import Event
from pushsvc.events.names import TOPIC
from pushsvc.storage.counts.rates import Along
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.refusals import REFUSAL_LOG
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.retention import Retention

NO_RATES: Final = Along()
_APPEND: Final = Script("log/append", after=("counts/counting", "log/log", "log/once"))
_APPEND_MANY: Final = Script("log/append_many", after=("log/log", "log/once"))

MOST_EVENTS: Final = 8  # in one call, during which Redis serves nobody else; longer ones cost more for each event
MOST_BYTES: Final = 2**14  # of frames in one call; a longer frame has a call of its own


class Appending:
    """Appends events, each completely or not at all."""

    def __init__(self, store: RedisClient, retention: Retention) -> None:
        self._store = store
        self._keys = store.keys
        self._retention = retention

    def run(self, events: Sequence[Event], along: Along) -> list[Any]:
        """Append in order, in one round trip. Gives Redis's answer to each event, see append.lua; an exception where
        that is refused. Raises as `execute_replicated` does."""
        if len(events) == 1 or any(along):  # what counts along is counted event by event
            return self._store.execute_replicated([self._one(event, _frame(event), along) for event in events])
        frames = list(map(_frame, events))
        calls = list(_calls(frames))
        commands = [
            self._many(events[each], frames[each])
            if each.stop - each.start > 1
            else self._one(events[each.start], frames[each.start], along)
            for each in calls
        ]
        sizes = [each.stop - each.start for each in calls]
        answers: list[Any] = []
        for size, answer in zip(sizes, self._store.execute_replicated(commands, sizes), strict=True):
            if size == 1:
                answers.append(answer)
            elif isinstance(answer, Exception):  # the script has not run
                answers += [answer] * size
            else:
                answers += map(_told, answer)
        return answers

    def names(self, event: Event) -> list[str]:
        """The Redis keys that an append of the event uses."""
        return [self._keys.clock, self._keys.epoch, *self._own(event)]

    def _own(self, event: Event) -> list[str]:
        names = [self._keys.log(event.channel), self._keys.tail(event.channel)]
        return names if event.key is None else [*names, self._keys.dedupe(event.channel, event.key)]

    def _one(self, event: Event, frame: bytes, along: Along) -> Command:
        retention, names = self._retention, self.names(event)
        events, topics = along.events, along.topics if event.channel.startswith(TOPIC) else None
        own, shares = len(names), [each for each in (events, topics) if each is not None]
        counting = [own, 0 if events is None else len(events.rates.numbers)] if shares else []
        return _APPEND.call(
            [*names, *(each.rates.key(self._keys, each.subject) for each in shares)],
            frame,
            retention.keep_events,
            retention.keep_seconds,
            retention.tail_seconds,
            event.ttl or 0,
            retention.dedupe_seconds,
            *counting,
            *(number for each in shares for number in each.rates.numbers),
        )

    def _many(self, events: Sequence[Event], frames: Sequence[bytes]) -> Command:
        retention, names, words = self._retention, [self._keys.clock, self._keys.epoch], list[Any]()
        for event, frame in zip(events, frames, strict=True):
            names += self._own(event)
            words += (frame, event.ttl or 0, 0 if event.key is None else 1)
        return _APPEND_MANY.call(
            names,
            retention.keep_events,
            retention.keep_seconds,
            retention.tail_seconds,
            retention.dedupe_seconds,
            *words,
        )


def _frame(event: Event) -> bytes:
    return sse.frame(event.name, event.data)


def _calls(frames: Sequence[bytes]) -> Iterator[slice]:
    """Give the events that go in one call."""
    start = size = 0
    for number, frame in enumerate(frames):
        if number > start and (number - start >= MOST_EVENTS or size + len(frame) > MOST_BYTES):
            yield slice(start, number)
            start, size = number, 0
        size += len(frame)
    yield slice(start, len(frames))


def _told(answer: Any) -> Any:
    """One event's answer. What Redis refused within the script is logged."""
    if isinstance(answer, Exception):
        REFUSAL_LOG.warn(answer)
    return answer
