"""A master that does not know yet that it was replaced: nobody believes it, and what it caused is said."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import gevent
import pytest
import redis

from pushsvc.delivery.channels import Channels
from pushsvc.delivery.reading.read_cache import ReadCache
from pushsvc.errors import Unavailable
from pushsvc.events.event import BEGINNING, Event, EventId
from pushsvc.storage import log as eventlog
from pushsvc.storage.clock import Clock
from pushsvc.storage.entries import Slice
from pushsvc.storage.log import EventLog, Receipt
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.epochs import EpochHistory
from pushsvc.storage.redis.fencing import MOST_EPOCHS, Fence, Fenced
from pushsvc.storage.redis.keys import ALONE as keys
from pushsvc.storage.retention import Retention
from tests.support.clients.eventsource import EventSource, until
from tests.support.redis.pair import Pair
from tests.support.redis.servers import Relay
from tests.support.stack import Stack


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    servers = Pair(tmp_path / "servers")
    yield servers
    servers.stop()


def heard(source: EventSource) -> list[str]:
    return [json.loads(each.data)["reason"] if each.event == "gap" else each.data for each in source.messages]


@pytest.mark.parametrize("more", [False, True], ids=["it is quiet", "it goes on"])
def test_two_masters_for_a_while(pair: Pair, tmp_path: Path, user: str, more: bool) -> None:
    """The replica is the master now, and one worker has not heard of it. What only the old one has is lost; what the
    new one has is not, though its ids are lower."""
    with ExitStack() as ending:
        relays = [ending.enter_context(closing(Relay(pair.first))) for _ in range(2)]
        stacks = []
        for number, relay in enumerate(relays):
            url = f"redis://127.0.0.1:{relay.port}"
            stacks.append(Stack(tmp_path / str(number), redis_url=url, workers=1))
            ending.callback(stacks[-1].stop)
        late, early = stacks
        sources = [ending.enter_context(each.listen(user, base=each.app_url, reconnect=True)) for each in stacks]
        for data in ("e0", "e1"):
            late.publish(user=user, data=data)
        for source in sources:
            source.wait_for(2)
        redis.Redis(port=pair.second).execute_command("REPLICAOF", "NO", "ONE")
        relays[1].move(pair.second)
        until(lambda: workers(pair.second) == 1, "the worker at the new master")
        early.until_ready()
        published = ["n1", early.publish(user=user, data="n1")]
        lost = late.publish(user=user, data="x1")
        assert EventId.parse(lost, "id") > EventId.parse(published[1], "id")
        sources[0].wait_ids(lost)
        if more:
            early.publish(user=user, data="n2")
        relays[0].move(pair.second)
        until(lambda: workers(pair.second) == 2, "both workers at the new master")
        early.publish(user=user, data="n3")
        kept = ["n1", "n2", "n3"] if more else ["n1", "n3"]
        sources[0].wait(lambda each: each.data[-1:] == ["n3"], "n3")
        assert heard(sources[0]) == ["e0", "e1", "x1", "reset", *kept]
        sources[1].wait(lambda each: "reset" in heard(each) and "n3" in each.data, "n3, and that something was lost")
        assert [each for each in heard(sources[1]) if each != "reset"] == ["e0", "e1", *kept]


def workers(port: int) -> int:
    """The number of workers' subscriptions at this server."""
    return len(redis.Redis(port=port).client_list(_type="pubsub"))


def test_who_is_in_a_life_that_is_over_is_not_followed() -> None:
    fence = Fence(keys)
    for raw in (b"1-0", b"1-0 5-0 6-0", b"1-0 5-0 6-0 8-0 9-0!"):
        fence.advance_to(EpochHistory(raw))
    for raw in (b"1-0", b"1-0 5-0 6-0", b"1-0 5-0 6-0!"):
        with pytest.raises(Fenced):
            fence.advance_to(EpochHistory(raw))
    fence.advance_to(EpochHistory(b"7-0"))  # FLUSHALL: nothing of what was


def test_also_when_the_first_lives_are_forgotten() -> None:
    words = [f"{number}-0" for number in range(1, 2 * MOST_EPOCHS + 2)]
    before = EpochHistory(" ".join(words).encode())
    after = EpochHistory(" ".join([words[0], *words[3:], "900-0", "901-0"]).encode())
    assert before.is_superseded_by(after)
    assert not after.is_superseded_by(before)


def log_of(port: int, wait_replicas: int = 0) -> EventLog:
    fence = Fence(keys)
    store = RedisClient(connect(f"redis://127.0.0.1:{port}", fence.handshake), keys, fence, wait_replicas=wait_replicas)
    return EventLog(store, Retention(keep_events=100, keep_seconds=60, dedupe_seconds=60))


def test_a_repetition_is_not_acknowledged_either_while_no_replica_has_it(
    pair: Pair, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for every worker, even for one that has written nothing itself and so has nothing to wait for."""
    monkeypatch.setattr(eventlog, "PATIENCE_SECONDS", 0.0)
    before, event = (Event(f"user:{user}", "message", "once", key=key) for key in ("before", "k"))
    first = log_of(pair.first, 1)
    assert isinstance(first.append([before])[0], Receipt)
    pair.signal(pair.second, signal.SIGSTOP)
    for log in (first, log_of(pair.first, 1)):
        [receipt] = log.append([event])
        assert isinstance(receipt, Unavailable)
    pair.signal(pair.second, signal.SIGCONT)
    [receipt] = log_of(pair.first, 1).append([event])
    assert isinstance(receipt, Receipt)
    assert receipt.duplicate


def test_who_reads_along_with_one_that_is_killed_is_told_to_try_again() -> None:
    class Slow(EventLog):
        def __init__(self) -> None:
            self.reads = gevent.event.Event()

        def read(self, *_: object) -> list[Slice]:
            self.reads.wait()
            return [Slice([], BEGINNING, whole=True)]

    class Shared(Channels):
        def is_shared(self, name: str) -> bool:
            return True

    clock = Clock(EpochHistory(b"1-0"), EventId(9, 0), 0, 0)
    cache = ReadCache(Slow(), Shared(), time.monotonic)
    first, second = (gevent.spawn(cache.read, ["all"], EventId(1, 0), clock, 100) for _ in range(2))
    gevent.sleep(0)
    first.kill()
    second.join()
    assert isinstance(second.exception, Unavailable)
