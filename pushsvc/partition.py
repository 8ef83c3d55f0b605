"""A partition: one independent part of the data, and all that serves it in this worker. A cluster has several
partitions, and the data of a user is in one of them; a single server is one partition."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pushsvc.attendance.register import Register
from pushsvc.attendance.roll_call import RollCall
from pushsvc.checks.checkup import Checkup
from pushsvc.concurrency.loops import Loop
from pushsvc.config import Settings
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.reading.history import Unread
from pushsvc.delivery.streams import Streams
from pushsvc.errors import Unavailable
from pushsvc.llm.budgeting import Budgeting
from pushsvc.llm.generations import Generations
from pushsvc.llm.kept import Kept
from pushsvc.llm.making.progress import Limits as AnswerLimits
from pushsvc.llm.making.succession import Succession
from pushsvc.llm.models.base import Model
from pushsvc.llm.store import Records
from pushsvc.llm.writer import GenerationWriter
from pushsvc.storage.acknowledged import Acknowledged
from pushsvc.storage.counts.budgets import Budgets
from pushsvc.storage.counts.presence import Presence
from pushsvc.storage.counts.rates import Rates
from pushsvc.storage.journal import Journal
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.client import RedisClient, connect
from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.subscription.pubsub import PubSub
from pushsvc.storage.redis.topology import failover
from pushsvc.storage.retention import Retention
from pushsvc.storage.tickets.tickets import Tickets

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 2.0  # a stopping worker tries so long to write what it still knows


@dataclass(frozen=True)
class Shared:
    """The parts that the partitions of a worker share. `full`: whether no more generations may begin here."""

    settings: Settings
    secrets: tuple[str, ...]
    worker_id: str
    capacity: Capacity
    model: Model
    full: Callable[[], bool]
    roll: RollCall
    register: Register


@dataclass
class Partition:
    """The parts that serve one partition of the data in this worker, and their life."""

    keys: Keys
    store: RedisClient
    log: EventLog
    hub: Hub
    presence: Presence
    tickets: Tickets
    streams: Streams
    generations: Generations
    kept: Kept
    budgeting: Budgeting
    failover: tuple[Loop, ...]
    checkup: Checkup
    publishes: Rates
    topics: Rates
    connects: Rates
    asks: Rates
    roll: RollCall
    unread: Unread

    def start(self) -> None:
        """Start the background loops. Harmless when repeated."""
        self.hub.start(self)
        self.presence.start(self.streams)
        for loop in self._own_loops():
            loop.start()

    def on_control(self, word: str) -> None:
        """Take a message of another worker, see ControlListener."""
        takers = (self.streams.on_control, self.presence.on_control, self._called)
        if not any(take(word) for take in takers):
            self.generations.check(word)

    def _called(self, word: str) -> bool:
        return self.roll.on_control(word, self.hub.bus)

    def retry_ms(self) -> int:
        """Draw a reconnection time for a client, see Lifetimes."""
        return self.hub.lifetimes.retry_ms()

    def stop(self) -> None:
        """Write to Redis what only this worker knows, then end the loops."""
        if not self.hub.positions.flush(self._flush_seconds):
            logger.error("positions of some users could not be written; they may get events twice")
        for loop in self._own_loops():
            loop.stop()
        self.hub.stop()
        try:
            if not self.lost:
                self.presence.write()
                self.presence.living.leave()
        except Unavailable:
            logger.warning("the end of this worker's connections could not be written; they run out by themselves")

    def end_answers(self) -> None:
        """End the answers that are still being made, or let them go; see Generations. Harmless when repeated."""
        if not self.generations.stop(self._flush_seconds):
            logger.error("the ends of some answers could not be written; another worker will")

    @property
    def _flush_seconds(self) -> float:
        """The time that a stopping worker waits to write to this partition; not at all if the partition is lost."""
        return 0.0 if self.lost else FLUSH_SECONDS

    def unready(self) -> str | None:
        """Say why the partition is not served here. None: it is."""
        if not self.hub.bus.live and self.hub.bus.refused is None:
            return "The subscription to Redis is not proven live."
        for loop in self._loops():
            if not loop.healthy and loop.refused is None:
                return f"The background loop {loop.name} does not run."
        return self.checkup.lacking

    def problems(self) -> Mapping[str, str]:
        """Say what is wrong though the partition is served: sentences by a word for the kind."""
        found = self.checkup.problems()
        for refused in (self.hub.bus.refused, *(loop.refused for loop in self._loops())):
            if refused is not None:
                found["rights"] = refused.detail
        return found

    @property
    def lost(self) -> bool:
        """Whether the partition is lost to all workers, because the cluster's node that has it is down."""
        return self.store.lost

    @lost.setter
    def lost(self, lost: bool) -> None:
        self.store.lost = lost

    def _loops(self) -> tuple[Loop, ...]:
        return (*self.hub.loops, *self._own_loops())

    def _own_loops(self) -> tuple[Loop, ...]:
        return (self.presence.loop, self.checkup.loop, *self.generations.loops, *self.failover)


def limits_of(settings: Settings) -> AnswerLimits:
    """The time limits of the model's server."""
    return AnswerLimits(
        settings.llm_first_token_seconds, settings.llm_between_tokens_seconds, settings.llm_total_seconds
    )


def _make_generations(
    store: RedisClient, records: Records, hub: Hub, presence: Presence, shared: Shared
) -> Generations:
    settings = shared.settings
    return Generations(
        records,
        GenerationWriter(store, records, shared.worker_id),
        shared.model,
        limits_of(settings),
        presence,
        hub.bus,
        shared.full,
        Succession(
            store,
            shared.worker_id,
            settings.llm_total_seconds,
            on=settings.llm_continue and settings.asks_a_server,
            ask_streamed=settings.llm_ask_streamed and settings.asks_a_server,
        ),
    )


def make_partition(url: str, keys: Keys, shared: Shared) -> Partition:
    """Make the parts. Nothing runs, and nothing is asked of Redis, until the partition is started."""
    settings, worker_id = shared.settings, shared.worker_id
    fence = Fence(keys, Acknowledged(Journal(settings.data_dir, keys.clock, worker_id)))
    client = connect(url, fence.handshake, keys, settings.redis_password_file)
    store = RedisClient(client, keys, fence, wait_replicas=settings.wait_replicas)
    retention = Retention.from_settings(settings)
    log = EventLog(store, retention)
    presence = Presence(store, worker_id, settings.max_connections_per_user)
    records = Records(
        store,
        log,
        worker_id,
        retention,
        most_per_user=settings.llm_max_generations_per_user,
        most_bytes=settings.llm_max_bytes_per_user,
    )
    budgeting = Budgeting(Budgets(store, settings.llm_budget))
    hub = Hub(log, presence, PubSub(client, store, worker_id), shared.capacity, settings)
    shared.roll.cover(hub, presence)
    shared.register.cover(hub, store)
    generations = _make_generations(store, records, hub, presence, shared)
    generations.counted = budgeting.counted
    return Partition(
        keys,
        store,
        log,
        hub,
        presence,
        Tickets(store, shared.secrets, settings.leeway_seconds, settings.max_tickets_per_user),
        Streams(worker_id, hub.lifetimes, hub.bus),
        generations,
        Kept(store, records),
        budgeting,
        failover.loops(client),
        Checkup(store, settings, presence),
        Rates(store, "RATE_PUBLISH", settings.rate_publish),
        Rates(store, "RATE_TOPICS", settings.rate_topics),
        Rates(store, "RATE_CONNECT", settings.rate_connect),
        Rates(store, "RATE_ASK", settings.rate_ask),
        shared.roll,
        Unread(log),
    )
