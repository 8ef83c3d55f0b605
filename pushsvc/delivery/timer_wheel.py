"""One clock for all connections, instead of a timer each: who is due at a tick is found at that tick's place."""

from __future__ import annotations

import math
from collections import defaultdict

from pushsvc.delivery.subscriber import Subscriber


class TimerWheel:
    """Each subscriber stands at one tick at most: its `due`."""

    def __init__(self, tick_seconds: float) -> None:
        self._tick_seconds = tick_seconds
        self._tick = 0
        self._places: defaultdict[int, list[Subscriber]] = defaultdict(list)

    def put(self, subscriber: Subscriber, seconds: float) -> None:
        """Look at it in so many seconds, and not when it was to be looked at before."""
        due = self._tick + max(1, math.ceil(seconds / self._tick_seconds))
        self._places[due].append(subscriber)
        subscriber.due = due

    @staticmethod
    def take(subscriber: Subscriber) -> None:
        subscriber.due = 0

    def turn(self) -> list[Subscriber]:
        """A tick later: who is due."""
        self._tick += 1
        here = dict.fromkeys(self._places.pop(self._tick, ()))  # who was taken and put back stands here twice
        return [subscriber for subscriber in here if subscriber.due == self._tick]
