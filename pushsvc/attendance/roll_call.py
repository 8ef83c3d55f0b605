"""Asks all workers who is connected. Each answers for its own connections, so the answer is as true as the workers
are: nothing is written when somebody comes or goes, and a worker that was killed does not answer."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import gevent.event
import orjson

from pushsvc.delivery.hub import Hub
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.errors import Unavailable
from pushsvc.events.names import user_of
from pushsvc.storage.counts.presence import Presence
from pushsvc.storage.redis.subscription.pubsub import PubSub

ANSWER_SECONDS: Final = 2.0  # how long a worker may take to answer
MOST_USERS: Final = 1000  # in one answer
# How messages to other workers begin; no generation's id begins so.
_WHO: Final = "who "
_HERE: Final = "here "


class Present(NamedTuple):
    """A user who is here: how many connections, since when the oldest (microseconds since 1970, by Redis's clock; None:
    only long polls), and on which workers."""

    user: str
    connections: int
    since: int | None
    workers: tuple[str, ...]


class Roll(NamedTuple):
    """The users who are here, by name. `next`: the last name of a page that is not the last. `silent`: workers that
    gave no answer though they seem to live; who is connected to them alone is missing."""

    users: list[Present]
    next: str | None
    silent: list[str]


class _Answers:
    """The answers to one question."""

    def __init__(self, workers: Iterable[str]) -> None:
        self.silent = set(workers)
        self.users: dict[str, Present] = {}
        self.complete = gevent.event.Event()

    def add(self, worker: str, users: Iterable[Sequence[Any]]) -> None:
        for name, connections, since in users:
            known = self.users.get(name, Present(name, 0, None, ()))
            times = [each for each in (known.since, since) if each is not None]
            self.users[name] = Present(
                name, known.connections + connections, min(times, default=None), (*known.workers, worker)
            )
        self.silent.discard(worker)
        if not self.silent:
            self.complete.set()


class RollCall:
    """Asks other workers, and answers them for this one."""

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id
        self._parts: list[tuple[Hub, Presence]] = []  # of each partition
        self._numbers = itertools.count()
        self._asked: dict[str, _Answers] = {}

    def cover(self, hub: Hub, presence: Presence) -> None:
        """Answer for the connections of one more partition."""
        self._parts.append((hub, presence))

    def ask(self, bus: PubSub, presence: Presence, channel: str | None, after: str, limit: int) -> Roll:
        """The first `limit` users by name after `after`: those who follow the channel, or all. `bus`, `presence`: of a
        partition through which workers are asked. Raises Unavailable."""
        number = str(next(self._numbers))
        workers = [each for each in presence.living.workers(presence.now() // 1000) if each != self._worker_id]
        answers = self._asked[number] = _Answers([*workers, self._worker_id])
        try:
            question = [number, self._worker_id, channel, after, limit + 1]
            for worker in workers:
                bus.send_control(worker, _WHO + orjson.dumps(question).decode())
            answers.add(self._worker_id, self._here(channel, after, limit + 1))
            answers.complete.wait(ANSWER_SECONDS)
        finally:
            del self._asked[number]
        names = heapq.nsmallest(limit + 1, answers.users)
        users = [answers.users[name] for name in names[:limit]]
        return Roll(users, users[-1].user if len(names) > limit else None, sorted(answers.silent))

    def on_control(self, word: str, bus: PubSub) -> bool:
        """Handle a message of another worker. `bus`: of the partition in which it came. False: it is no roll call."""
        if word.startswith(_WHO):
            gevent.spawn(self._answer, orjson.loads(word.removeprefix(_WHO)), bus)
            return True
        if not word.startswith(_HERE):
            return False
        number, worker, users = orjson.loads(word.removeprefix(_HERE))
        answers = self._asked.get(number)
        if answers is not None:
            answers.add(worker, users)
        return True

    def _answer(self, question: Sequence[Any], bus: PubSub) -> None:
        number, asker, channel, after, limit = question
        answer = [number, self._worker_id, self._here(channel, after, limit)]
        try:
            bus.send_control(asker, _HERE + orjson.dumps(answer).decode())
        except Unavailable:
            return  # the asker names this worker as silent

    def _here(self, channel: str | None, after: str, limit: int) -> list[tuple[str, int, int | None]]:
        """The users here with their numbers of connections, and when the oldest began."""
        hubs = [hub for hub, _ in self._parts]
        if channel is not None and (user := user_of(channel)) is not None:
            names: Iterable[str] = [user] if user > after else []
        else:
            names = heapq.nsmallest(limit, {name for name in _names(hubs, channel) if name > after})
        found = ((name, _of_user(hubs, name, channel)) for name in names)
        return [(name, len(held), _oldest(held)) for name, held in found if held]


def _names(hubs: Sequence[Hub], channel: str | None) -> Iterator[str]:
    for hub in hubs:
        channels = hub.subscribers.channels
        if channel is None:
            yield from (user for name in channels.followed() if (user := user_of(name)) is not None)
        elif (entry := channels.get(channel)) is not None:
            yield from (each.user for each in entry.followers() if _is_named(each))


def _of_user(hubs: Sequence[Hub], user: str, channel: str | None) -> list[Subscriber]:
    """The user's connections here which follow the channel."""
    entries = [hub.subscribers.channels.get(f"user:{user}") for hub in hubs]
    held = [each for entry in entries if entry is not None for each in entry.followers()]
    return [
        each
        for each in held
        if each.user == user and each.reason is None and (channel is None or channel in each.channels)
    ]


def _oldest(held: Sequence[Subscriber]) -> int | None:
    return min((each.began for each in held if each.began), default=None)


def _is_named(subscriber: Subscriber) -> bool:
    """Whether the subscriber is a user's, whose own channel comes first, and not a backend's."""
    return subscriber.channels[0] == f"user:{subscriber.user}"
