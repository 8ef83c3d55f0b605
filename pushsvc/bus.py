"""The worker's one subscription to Redis. It knows channels and payloads, and no Hub.

Pub/sub only says that something was appended; it may lose. So the Bus tells when a channel's subscription is
confirmed, each time anew, and whoever hears that reads the log.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final, Protocol

import gevent
import gevent.event
import redis
from redis.connection import ConnectionInterface

from pushsvc import keys
from pushsvc.errors import Unavailable
from pushsvc.loops import Loop
from pushsvc.store import Store

logger = logging.getLogger(__name__)

CANARY_SECONDS: Final = 0.5  # how often the worker announces something to itself
SILENCE_SECONDS: Final = 2.0  # a canary that has not come back for so long: the subscription is not proven
DEAF_SECONDS: Final = 30.0  # nor behind a burst of announcements, which it only queues in: the subscription is deaf
TURN_SECONDS: Final = 0.005  # after so long of announcements in a row, other greenlets get their turn
BATCH: Final = 500  # channels in one SUBSCRIBE


class Ear(Protocol):
    """Who listens to a Bus."""

    def confirmed(self, channel: str) -> None:
        """From now on everything appended to the channel is announced; what came before must be read."""

    def announced(self, channel: str, payload: bytes) -> None:
        """`<id> <id of the channel's event before> <frame>`"""


class Bus:
    """One plain connection, whose reader and writer are a greenlet each. `wanted` outlives the connection."""

    def __init__(self, client: redis.Redis, store: Store, worker_id: str, ear: Ear) -> None:
        self._client = client
        self._store = store
        self._ear = ear
        self._canary = keys.canary(worker_id)
        self._wanted: set[str] = set()
        self._queue: list[tuple[str, str]] = []  # (SUBSCRIBE or UNSUBSCRIBE, key) yet to be sent
        self._unanswered: Counter[str] = Counter()  # SUBSCRIBEs sent or queued and not confirmed, by key
        self._queued = gevent.event.Event()
        self._connection: ConnectionInterface | None = None
        self._heard = 0.0  # monotonic time of the last canary that came back
        world = (redis.RedisError, Unavailable)
        self._reader = Loop("bus reader", self._read, expected=world)
        self._writer = Loop("bus writer", self._write, expected=world)
        self._singer = Loop("bus canary", self._sing, expected=world)
        self._loops = (self._reader, self._writer, self._singer)

    def start(self) -> None:
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        for loop in self._loops:
            loop.stop()

    @property
    def live(self) -> bool:
        """The subscription is proven: what the worker announced to itself came back a moment ago."""
        return self._reader.healthy and self._singer.healthy and time.monotonic() - self._heard < SILENCE_SECONDS

    def want(self, channels: Iterable[str]) -> None:
        """Subscribe; `Ear.confirmed` follows for each, also after every reconnection."""
        for channel in channels:
            if channel not in self._wanted:
                self._wanted.add(channel)
                self._put("SUBSCRIBE", keys.log(channel))

    def drop(self, channels: Iterable[str]) -> None:
        """Unsubscribe."""
        for channel in channels:
            if channel in self._wanted:
                self._wanted.discard(channel)
                self._put("UNSUBSCRIBE", keys.log(channel))

    def _put(self, command: str, key: str) -> None:
        if self._connection is None:
            return  # whoever connects subscribes to all that is wanted
        if command == "SUBSCRIBE":
            self._unanswered[key] += 1
        self._queue.append((command, key))
        self._queued.set()

    def _read(self, loop: Loop) -> None:
        """Connect, subscribe to all that is wanted, and hand on what comes; ends only by an error."""
        pool = self._client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)  # one that the pool made it would keep for ever
        try:
            connection.connect()
            self._store.load_scripts()
            connection.send_command("SUBSCRIBE", self._canary)
            self._heard = time.monotonic()
            self._connection = connection
            self._queue.clear()
            self._unanswered.clear()
            for channel in self._wanted:
                self._put("SUBSCRIBE", keys.log(channel))
            shared = time.monotonic()
            while True:
                kind, key, payload = connection.read_response()  # a silence of ANSWER_SECONDS raises
                self._handle(loop, kind, key, payload)
                now = time.monotonic()
                if now - self._heard > DEAF_SECONDS:
                    raise redis.TimeoutError("the subscription no longer hears this worker's own canary")
                if now - shared > TURN_SECONDS:  # reading what is there already never yields by itself
                    gevent.sleep(0)
                    shared = time.monotonic()
        finally:
            self._connection = None
            connection.disconnect()

    def _handle(self, loop: Loop, kind: bytes, raw_key: bytes, payload: bytes) -> None:
        key = raw_key.decode()
        if key == self._canary:
            self._heard = time.monotonic()
            if kind == b"message":
                loop.well()
        elif kind == b"message":
            self._ear.announced(keys.channel_of(key), payload)
        elif kind == b"subscribe":
            self._unanswered[key] -= 1
            # An UNSUBSCRIBE may stand between two SUBSCRIBEs of one channel; only the last answer proves anything.
            if self._unanswered[key] <= 0:
                del self._unanswered[key]
                if keys.channel_of(key) in self._wanted:
                    self._ear.confirmed(keys.channel_of(key))

    def _write(self, loop: Loop) -> None:
        """Send what is queued; commands of the same kind that came together leave together, in order."""
        while True:
            loop.well()
            self._queued.wait()
            self._queued.clear()
            queue, self._queue = self._queue, []
            while queue and self._connection is not None:
                command = queue[0][0]
                same = 0
                while same < min(len(queue), BATCH) and queue[same][0] == command:
                    same += 1
                self._connection.send_command(command, *(key for _, key in queue[:same]), check_health=False)
                del queue[:same]

    def _sing(self, loop: Loop) -> None:
        while True:
            self._store.one(("PUBLISH", self._canary, ""))
            loop.well()
            gevent.sleep(CANARY_SECONDS)
