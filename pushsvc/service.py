"""The parts of one worker, and their life: made by `create_app`, started in the worker, stopped with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import gevent
from gevent.monkey import is_module_patched

from pushsvc.checks.by_hand import look_aside
from pushsvc.config import Settings
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.endings import Reason
from pushsvc.events.event import Limits, user_of
from pushsvc.health import Health
from pushsvc.llm.models.base import Model
from pushsvc.partition import Partition
from pushsvc.storage.partitioned_log import Appender
from pushsvc.storage.redis.keys import place

EXTENSION: Final = "pushsvc"  # where Flask's `extensions` has the Service


@dataclass(frozen=True)
class Service:
    """All parts of one worker. `log` is that of all partitions, for publishers."""

    settings: Settings
    secret: str
    limits: Limits
    capacity: Capacity
    partitions: tuple[Partition, ...]
    model: Model
    log: Appender
    health: Health

    def partition_of(self, name: str) -> Partition:
        """The partition in which this user lives, with their tickets and generations: those lead there by their own
        names, too."""
        return self.partitions[place(name, len(self.partitions))]

    def partition_with(self, channel: str, user: str | None) -> Partition:
        """The partition in which a channel is read: what everybody may hear is in each, so it is read in the reader's
        own."""
        return self.partition_of(user_of(channel) or user or "")

    def start(self) -> None:
        """Start the background loops; harmless when repeated. Needs the process that will serve, and greenlets: where
        gevent has not patched the standard library there are none, and streams are refused."""
        if not is_module_patched("socket"):
            return
        for partition in self.partitions:
            partition.start()
        self.health.loop.start()

    def look_aside(self) -> None:
        """Log what `up` and `serve` would have said of Redis before they start."""
        look_aside(self.settings)

    def stop(self) -> None:
        """Write what is known, then end the loops."""
        self.health.loop.stop()
        self.end_answers()
        self._with_each(Partition.stop)

    def end_answers(self) -> None:
        """End the answers that still run: they cannot go on elsewhere. Harmless when repeated."""
        self._with_each(Partition.end_answers)

    def drain(self, seconds: float) -> None:
        """Take no more connections, and let all go over `seconds`."""
        self.capacity.stop_accepting()
        self._with_each(lambda partition: partition.hub.lifetimes.drain(seconds))

    def end_all(self) -> None:
        """Let go whoever is still there."""
        self._with_each(lambda partition: partition.hub.lifetimes.end_all(Reason.DRAINING))

    def _with_each(self, work: Callable[[Partition], None]) -> None:
        """Do something with all partitions at the same time."""
        gevent.joinall([gevent.spawn(work, partition) for partition in self.partitions])

    @property
    def generating(self) -> int:
        """How many answers are being made here, that can be written to their end."""
        return sum(len(partition.generations) for partition in self.partitions if not partition.lost)

    def retry_ms(self) -> int:
        """Draw a reconnection time for a client that nothing is known of."""
        return self.partitions[0].retry_ms()

    def unready(self) -> str | None:
        """Say why this worker should get no traffic. None: it should."""
        if self.capacity.stopping:
            return "This worker is stopping."
        return self.health.unready()
