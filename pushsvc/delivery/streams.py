"""The streams of this worker that another worker may have to end. Each has a name by which any worker can reach it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable
from typing import Final

from pushsvc.delivery.endings import Reason
from pushsvc.delivery.lifetimes import Lifetimes
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.errors import Unavailable
from pushsvc.events.names import user_channel
from pushsvc.storage.redis.subscription.pubsub import PubSub

KNOWN_SECONDS: Final = 10.0  # longer than a repeat of a request can replace its stream, and than a message takes
# How messages to other workers begin; no generation's id begins so.
_END: Final = "end "
_CUT: Final = "cut "


class Streams:
    """Gives names to streams that have just begun, and ends a stream by its name; a name is valid for a short time.
    Also finds the streams of a user that may have to end for newer ones, by the time when they began."""

    def __init__(self, worker_id: str, lifetimes: Lifetimes, bus: PubSub) -> None:
        self._worker_id = worker_id
        self._lifetimes = lifetimes
        self._bus = bus
        self._numbers = itertools.count()
        self._begun: dict[str, tuple[float, Subscriber]] = {}  # monotonic times, rising

    def name(self, subscriber: Subscriber) -> str:
        """Name a new stream. Any worker can end it by that name for the next KNOWN_SECONDS."""
        now = time.monotonic()
        while self._begun and next(iter(self._begun.values()))[0] < now - KNOWN_SECONDS:
            del self._begun[next(iter(self._begun))]
        number = str(next(self._numbers))
        self._begun[number] = now, subscriber
        return f"{self._worker_id} {number}"

    def end(self, name: str) -> None:
        """End a stream, on whichever worker it is, unless Redis is unreachable."""
        worker, _, number = name.partition(" ")
        with contextlib.suppress(Unavailable):
            self._bus.send_control(worker, _END + number)

    def cut(self, user: str, workers: Iterable[str]) -> None:
        """End all that a user listens to on these workers. Raises Unavailable."""
        for worker in workers:
            self._bus.send_control(worker, _CUT + user)

    def _cut_here(self, user: str) -> None:
        for subscriber in self._lifetimes.subscribers.all():
            if subscriber.owner == user:
                self._lifetimes.end(subscriber, Reason.CUT)

    def end_revoked(self, token: str | None, user: str | None) -> None:
        """End all that was opened here with the token of this id, or by the user."""
        for subscriber in self._lifetimes.subscribers.all():
            if (token is not None and subscriber.token == token) or (user is not None and subscriber.owner == user):
                self._lifetimes.end(subscriber, Reason.REVOKED)

    def on_control(self, word: str) -> bool:
        """Handle a message of another worker. False: it is not about streams."""
        if word.startswith(_CUT):
            self._cut_here(word.removeprefix(_CUT))
            return True
        if not word.startswith(_END):
            return False
        _, subscriber = self._begun.pop(word.removeprefix(_END), (0.0, None))
        if subscriber is not None and subscriber in self._lifetimes.subscribers:
            self._lifetimes.end(subscriber, Reason.REPLACED)
        return True

    def giving_way(self, name: str) -> list[Subscriber]:
        """List the user's streams that may have to end for newer ones, oldest first. `name`: see
        Subscriber.counted_as."""
        user = name.removeprefix("user:") if ":" in name else name
        channel = self._lifetimes.subscribers.channels.get(user_channel(user))
        followers = () if channel is None else channel.followers()
        found = [each for each in followers if each.began and each.user == user and each.reason is None]
        return sorted(found, key=lambda each: each.began)

    def oust(self, name: str, began: int) -> None:
        """End the user's stream that began at this time, to make room for newer ones. `name`: see
        Subscriber.counted_as; `began`: see Subscriber.began."""
        for subscriber in self.giving_way(name):
            if subscriber.began == began:
                self._lifetimes.end(subscriber, Reason.OUSTED)
