"""What time does to this worker's connections: heartbeats, and the ends of the expired, the slow and the last."""

from __future__ import annotations

import random
import time

import gevent

from pushsvc.concurrency.loops import Loop, TimeSlice
from pushsvc.concurrency.pacing import spread
from pushsvc.delivery.subscriber import Reason, Subscriber
from pushsvc.delivery.subscribers import LOOK, Connections


class Lifetimes:
    """Keeps a silent connection alive, and ends those whose time is over."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.loop = Loop("wheel", self._turn, expected=())

    def _turn(self, loop: Loop) -> None:
        """One wheel for all: heartbeats to the silent, an end to the expired and the slow."""
        connections = self._connections
        missed = connections.all()  # after an error of a turn before
        while True:
            loop.report_healthy()
            gevent.sleep(connections.tick_seconds)
            turn = TimeSlice()
            connections.finish_leaving()
            due, missed = [*missed, *connections.tick()], []
            for number, subscriber in enumerate(due):
                if subscriber in connections:
                    connections.guard(subscriber, self._look)
                if number % LOOK == 0:
                    turn.yield_if_over()

    def _look(self, subscriber: Subscriber) -> None:
        connections, now, wall = self._connections, time.monotonic(), time.time()
        if subscriber.outlet.stuck(now, subscriber.catching is not None, subscriber.patience):
            self._give_up(subscriber)
        elif subscriber.reason is not None:
            return
        elif subscriber.expires is not None and subscriber.expires <= wall:
            connections.end(subscriber, Reason.EXPIRED)
        else:
            if connections.silent_until(subscriber) <= now and _nothing_on_its_way(subscriber):
                subscriber.sent_at = now
                subscriber.outlet.send(subscriber.heartbeat)
                if not subscriber.outlet.clear:
                    connections.unsettle(subscriber)
            if subscriber.due:
                connections.come_back(subscriber)
            else:
                connections.settle(subscriber)

    def _give_up(self, subscriber: Subscriber) -> None:
        """Its hanging write, or the wait for its last bytes, would hold the connection for ever."""
        subscriber.reason = subscriber.reason or Reason.SLOW
        if subscriber.outlet.detached:
            self._connections.close(subscriber)
        else:
            subscriber.outlet.cut()

    def end_all(self, reason: Reason) -> None:
        """At once, also those who could not come back."""
        for subscriber in self._connections.all():
            self._end(subscriber, reason)

    def drain(self, seconds: float) -> None:
        """Let go those who can come back, spread evenly over `seconds`; each is told when."""
        subscribers = [subscriber for subscriber in self._connections.all() if not subscriber.stays]
        random.shuffle(subscribers)
        for number in spread(len(subscribers), seconds):
            self._end(subscribers[number], Reason.DRAINING)

    def _end(self, subscriber: Subscriber, reason: Reason) -> None:
        self._connections.guard(subscriber, lambda each: self._connections.end(each, reason))


def _nothing_on_its_way(subscriber: Subscriber) -> bool:
    return subscriber.outlet.clear if subscriber.outlet.detached else subscriber.catching is None
