"""The Service: all parts of one worker. `create_app` makes it; the worker starts and stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import gevent
from gevent.monkey import is_module_patched

from pushsvc import metrics
from pushsvc.attendance.hooks import Hooks
from pushsvc.attendance.roll_call import RollCall
from pushsvc.checks.by_hand import look_aside
from pushsvc.checks.health import Health
from pushsvc.concurrency.room import Room
from pushsvc.config import Settings
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.endings import Reason
from pushsvc.events.names import user_of
from pushsvc.events.publication import Limits
from pushsvc.llm.making.passing import Passing
from pushsvc.llm.models.base import Model
from pushsvc.partition import Partition
from pushsvc.storage.partitioned_log import Appender
from pushsvc.storage.redis.keys import place
from pushsvc.storage.revoking import Revoking
from pushsvc.tokens.verifier import Verifier

EXTENSION: Final = "pushsvc"  # where Flask's `extensions` has the Service


@dataclass(frozen=True)
class Service:
    """All parts of one worker. `log` appends events to the logs of all partitions. `room`: for long bodies of
    requests; `pages`: for answers with events, until they are sent."""

    settings: Settings
    secrets: tuple[str, ...]  # the first signs
    verifier: Verifier
    limits: Limits
    room: Room
    pages: Room
    capacity: Capacity
    partitions: tuple[Partition, ...]
    model: Model
    passing: Passing
    log: Appender
    health: Health
    roll: RollCall
    revoking: Revoking
    hooks: Hooks | None  # None: nobody is to be told

    def partition_of(self, name: str) -> Partition:
        """The partition that has the data of a user. `name`: the user, or one of the user's tickets, proofs or
        generations, whose names lead to the same partition."""
        return self.partitions[place(name, len(self.partitions))]

    def partition_with(self, channel: str, user: str | None) -> Partition:
        """The partition from which `user` reads a channel. Topics and `all` are in every partition, so they are read
        from the reader's own."""
        return self.partition_of(user_of(channel) or user or "")

    def reachable(self) -> Partition:
        """A partition whose data can be reached, if there is one."""
        return next((each for each in self.partitions if not each.lost), self.partitions[0])

    def start(self) -> None:
        """Start the background loops. Harmless when repeated. Must be called in the process that will serve. Does
        nothing where gevent has not patched the standard library; streams are then refused."""
        if not is_module_patched("socket"):
            return
        metrics.WORKERS.set(1)
        for partition in self.partitions:
            partition.start()
        self.health.loop.start()
        self.revoking.loop.start()
        if self.hooks is not None:
            self.hooks.start()

    def look_aside(self) -> None:
        """Log the warnings about Redis that `up` and `serve` print before they start."""
        look_aside(self.settings)

    def stop(self) -> None:
        """Write to Redis what only this worker knows, then end the loops."""
        metrics.WORKERS.set(0)
        self.health.loop.stop()
        self.revoking.loop.stop()
        self.end_answers()
        if self.hooks is not None:
            self.hooks.stop()
        self._with_each(Partition.stop)

    def end_answers(self) -> None:
        """End the answers that are still being made; no other worker can continue them. Harmless when repeated."""
        self._with_each(Partition.end_answers)

    def drain(self, seconds: float) -> None:
        """Take no more connections, and end all streams, spread over `seconds`."""
        self.capacity.stop_accepting()
        self._with_each(lambda partition: partition.hub.lifetimes.drain(seconds))

    def end_all(self) -> None:
        """End all streams that are left, at once."""
        self._with_each(lambda partition: partition.hub.lifetimes.end_all(Reason.DRAINING))

    def _with_each(self, work: Callable[[Partition], None]) -> None:
        """Call `work` with all partitions at the same time."""
        gevent.joinall([gevent.spawn(work, partition) for partition in self.partitions])

    @property
    def generating(self) -> int:
        """The number of answers that are being made here and whose end can still be written to Redis."""
        return sum(len(partition.generations) for partition in self.partitions if not partition.lost)

    def retry_ms(self) -> int:
        """Draw a reconnection time in milliseconds for a client whose user is not known."""
        return self.partitions[0].retry_ms()

    def unready(self) -> str | None:
        """Say why this worker should get no traffic. None: it should."""
        if self.capacity.stopping:
            return "This worker is stopping."
        return self.health.unready() or self.revoking.unready()
