"""The notes that workers keep of their streams, so that others know which of them give way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import pytest

from pushsvc.delivery.hub import Hub
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.events.event import BEGINNING
from pushsvc.storage.counts.presence import Presence
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.keys import ALONE as keys
from pushsvc.storage.redis.scripts import Command
from tests.conftest import Start
from tests.support.clients.eventsource import gave_way, until
from tests.support.stack import Stack

CAP = 3


@pytest.fixture(scope="module")
def capped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("capped"), max_connections_per_user=CAP, workers=3)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def times_of(stack: Stack, user: str) -> list[tuple[bytes, bytes]]:
    """The times at which the user's streams began, by worker."""
    return list(stack.redis.hgetall(keys.streams(user)).items())  # type: ignore[arg-type]


def test_a_word_that_is_lost_is_found_with_the_next_beat(capped: Stack, user: str) -> None:
    """A word is lost while a worker's subscription is away."""
    with ExitStack() as opened:
        sources = [opened.enter_context(capped.listen(user)) for _ in range(CAP)]
        [(worker, began), *_] = sorted(
            ((str(worker, "ascii"), int(times.split()[0])) for worker, times in times_of(capped, user)),
            key=lambda each: each[1],
        )
        capped.redis.rpush(keys.giving_way(worker), f"{user} {began}")
        gave_way(sources[0])


def test_streams_of_a_worker_that_died_are_in_nobodys_way(start: Start, user: str) -> None:
    stack = start(max_connections_per_user=2, workers=2)
    with ExitStack() as opened:
        opened.enter_context(stack.listen(user, base=stack.app_url))
        opened.enter_context(stack.listen(user, base=stack.app_url))
        until(
            lambda: sum(len(times.split()) for _, times in times_of(stack, user)) == 2,
            "the times, for which none waits",
        )
        for pid in stack.pids()["gunicorn"][1:]:
            os.kill(pid, signal.SIGKILL)
        stack.until_ready()
        sources = [opened.enter_context(stack.listen(user)) for _ in range(4)]
        event = stack.publish(user=user)
        for source in sources[-2:]:
            source.wait_ids(event)
        for source in sources[:-2]:
            gave_way(source)


def test_counts_of_the_last_version_still_count(capped: Stack, user: str) -> None:
    """A worker of that version stands beside these during a reload, and does not say when its streams began."""
    capped.redis.set(keys.worker("old"), "", ex=60)
    capped.redis.hset(keys.connections(user), "old", CAP - 1)
    with ExitStack() as opened:
        first = opened.enter_context(capped.listen(user))
        assert not first.refusals
        second = opened.enter_context(capped.listen(user))
        assert not second.refusals
        gave_way(first)
        capped.redis.hset(keys.connections(user), "old", CAP)
        until(lambda: capped.redis.hlen(keys.connections(user)) == 2, "the count")
        third = opened.enter_context(capped.listen(user))
        third.wait_ids(capped.publish(user=user))


def stream(user: str) -> Subscriber:
    return Subscriber(user, [f"user:{user}"], BEGINNING, QueuedTransport(1000))


class Here(list[Subscriber]):
    """The streams of one user, who are never ended."""

    def giving_way(self, name: str) -> list[Subscriber]:
        return [each for each in self if each.began]

    def oust(self, name: str, began: int) -> None: ...


@pytest.fixture
def presence(capped: Stack) -> Iterator[tuple[Presence, list[Subscriber]]]:
    """The presence of a worker of its own, and that worker's streams."""
    here = Here()
    with connect(f"unix://{capped.data_dir}/valkey.sock") as client:
        presence = Presence(RedisClient(client), "own", CAP)
        presence._streams = here  # but nothing is written by itself
        yield presence, here


def test_of_streams_that_begin_at_once_all_are_known(
    presence: tuple[Presence, list[Subscriber]], user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are known although their words to Redis cross."""
    mine, here = presence
    hub, begin = Hub.__new__(Hub), mine._store.begin
    hub._presence, hub.newcomers = mine, None

    def begun(command: Command) -> Callable[[], Any]:
        wait = begin(command)

        def answer() -> Any:
            gevent.sleep(0)
            return wait()

        return answer

    def enter() -> None:
        each = stream(user)
        mine.count_in(each)
        here.append(each)
        hub.stand(each, over=False)

    monkeypatch.setattr(mine._store, "begin", begun)
    gevent.joinall([gevent.spawn(enter) for _ in range(CAP)], raise_error=True)
    times = mine._store.execute_one(("HGET", keys.streams(user), "own")).split()
    assert times == [b"%d" % each.began for each in here]


def test_what_is_known_of_streams_runs_out(
    capped: Stack, presence: tuple[Presence, list[Subscriber]], user: str
) -> None:
    """It runs out even if it was lost and written anew, as the worker may die then."""
    mine, here = presence
    here.append(stream(user))
    mine.count_in(here[0])
    here[0].began = mine.now()
    mine._changed.add(user)  # as after a silence, when other workers may have dropped it
    mine.write()
    assert capped.redis.ttl(keys.streams(user)) > 0
    assert capped.redis.ttl(keys.connections(user)) > 0
