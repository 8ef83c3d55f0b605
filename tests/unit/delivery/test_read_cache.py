"""A crowd that catches up shares its reads of the log."""

from __future__ import annotations

import gevent
import pytest

from pushsvc.delivery.channels import Channels
from pushsvc.delivery.reading.read_cache import CACHE_SECONDS, ReadCache
from pushsvc.events.event import EventId
from pushsvc.storage.clock import Clock
from pushsvc.storage.entries import Entry, Slice
from tests.support.inside.delivery import CLOCK, at


class Log:
    """The part of an EventLog that a cache needs: one event a second, and a count of the reads."""

    def __init__(self) -> None:
        self.reads = 0
        self.entries = [Entry(at(number), at(number - 1), b"", None) for number in range(1, 6)]

    def read(self, names: list[str], after: EventId, clock: Clock, count: int) -> list[Slice]:
        self.reads += len(names)
        gevent.sleep(0)
        found = [entry for entry in self.entries if entry.id > after]
        return [Slice(found, self.entries[-1].id, whole=len(found) < count) for _ in names]


class Shared(Channels):
    """The channels that several follow: all but one."""

    def is_shared(self, name: str) -> bool:
        return name != "lonely"


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def cache(log: Log) -> ReadCache:
    return ReadCache(log, Shared(), lambda: 0.0)  # type: ignore[arg-type]


def numbers(pieces: list[Slice]) -> list[list[int]]:
    return [[entry.id.seq for entry in piece.entries] for piece in pieces]


def test_a_crowd_shares_reads_also_while_they_are_under_way(log: Log, cache: ReadCache) -> None:
    readers = [gevent.spawn(cache.read, ["a", "b"], at(2), CLOCK, 100) for _ in range(50)]
    assert all(numbers(reader.get()) == [[3, 4, 5]] * 2 for reader in readers)
    assert log.reads == 2
    assert numbers(cache.read(["a"], at(4), CLOCK, 100)) == [[5]]
    assert log.reads == 2, "a later cursor wants a part of it"
    assert numbers(cache.read(["a"], at(1), CLOCK, 100)) == [[2, 3, 4, 5]]
    assert log.reads == 3, "an earlier one more"
    for _ in range(2):
        cache.read(["lonely"], at(1), CLOCK, 100)
    assert log.reads == 5, "what nobody shares is not kept"


def test_a_later_clock_needs_the_tails_to_be_the_same(log: Log, cache: ReadCache) -> None:
    later = CLOCK._replace(last=at(9))
    cache.read(["a", "b"], at(2), CLOCK, 100)
    cache.validate(later, {"a": at(5), "b": at(8)})
    assert numbers(cache.read(["a"], at(2), later, 100)) == [[3, 4, 5]]
    assert log.reads == 2
    log.entries.append(Entry(at(8), at(5), b"", None))
    assert numbers(cache.read(["b"], at(2), later, 100)) == [[3, 4, 5, 8]], "its announcement was lost"
    assert numbers(cache.read(["a"], at(2), later._replace(last=at(10)), 100)) == [[3, 4, 5, 8]], "nobody vouched"


def test_an_announcement_takes_a_channel_out_of_the_cache(log: Log, cache: ReadCache) -> None:
    cache.read(["a"], at(2), CLOCK, 100)
    cache.invalidate("a")
    cache.read(["a"], at(2), CLOCK, 100)
    assert log.reads == 2


def test_what_stood_in_the_cache_for_long_is_read_again(log: Log) -> None:
    now = [0.0]
    cache = ReadCache(log, Shared(), lambda: now[0])  # type: ignore[arg-type]
    cache.read(["a"], at(2), CLOCK, 100)
    now[0] = CACHE_SECONDS + 1
    cache.evict_old()
    cache.read(["a"], at(2), CLOCK, 100)
    assert log.reads == 2


def test_a_read_that_fails_fails_for_all_who_wait_and_is_tried_again(log: Log, cache: ReadCache) -> None:
    good, log.read = log.read, lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    readers = [gevent.spawn(cache.read, ["a"], at(2), CLOCK, 100) for _ in range(2)]
    gevent.joinall(readers)
    assert all(isinstance(reader.exception, ZeroDivisionError) for reader in readers)
    log.read = good  # type: ignore[method-assign]
    assert numbers(cache.read(["a"], at(2), CLOCK, 100)) == [[3, 4, 5]]
