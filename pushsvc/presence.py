"""How many connections each user has, over all workers: a count per user and worker, and a sign of life per worker.

Counts are written as absolute numbers, so a lost or late write is mended by the next one; those of a worker that
died stop counting when its sign of life runs out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

import gevent

from pushsvc.commands import Command, Script
from pushsvc.errors import Broken, Full, TooManyConnections, Unavailable
from pushsvc.loops import Loop
from pushsvc.store import Store

_ENTER: Final = Script("enter")

BEAT_SECONDS: Final = 1.0  # how often counts that changed, and the sign of life, are written
LEASE_SECONDS: Final = 3  # a worker that was silent for so long is dead
EVERYTHING_SECONDS: Final = 60.0  # how often all counts are written, in case others took this worker for dead
BATCH: Final = 200  # users in one round trip: when a crowd leaves at once, nobody waits for all of it
FORGET_SECONDS: Final = 7 * 86400


class Counted(Protocol):
    """A connection: the name under which it counts, and whether it does now."""

    counted: bool

    @property
    def counted_as(self) -> str: ...


class Presence:
    """Keeps the cap on connections per user."""

    def __init__(self, store: Store, worker_id: str, max_per_user: int) -> None:
        self._store = store
        self._keys = store.keys
        self._worker_id = worker_id
        self._max_per_user = max_per_user
        self._here: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._written = self._all_written = 0.0  # monotonic times
        self.loop = Loop("presence", self._beat, expected=(Unavailable,))

    def enter(self, connection: Counted) -> None:
        """Count a connection in. Raises TooManyConnections, or Unavailable."""
        user = connection.counted_as
        self._changed.add(user)
        self._here[user], connection.counted = self._here[user] + 1, True
        try:
            counted = self._store.one(
                _ENTER.call(
                    [self._keys.connections(user)],
                    self._worker_id,
                    self._here[user],
                    self._max_per_user,
                    self._keys.worker(""),
                    FORGET_SECONDS,
                )
            )
        except Full:
            counted = self._here[user] <= self._max_per_user  # as far as this worker knows
        except BaseException:
            self.leave(connection)
            raise
        self._changed.add(user)  # of two that enter at once, the one that Redis heard last may have the lower count
        if not counted:
            self.leave(connection)
            raise TooManyConnections(
                f"This user already has {self._max_per_user} connections; close one first.", retry_after=5
            )

    def total(self, user: str) -> int:
        """How many connections the user has now. Raises Unavailable."""
        held = self._store.one(("HGETALL", self._keys.connections(user)))
        counts = {worker.decode(): int(n) for worker, n in zip(held[::2], held[1::2], strict=True)}
        counts.pop(self._worker_id, None)
        alive = self._store.execute([("EXISTS", self._keys.worker(worker)) for worker in counts]) if counts else []
        return self._here[user] + sum(n for n, lives in zip(counts.values(), alive, strict=True) if lives)

    def leave(self, connection: Counted) -> None:
        """Count a connection out; Redis learns it with the next beat. Harmless when repeated."""
        if connection.counted:
            user = connection.counted_as
            self._changed.add(user)
            self._here[user], connection.counted = self._here[user] - 1, False
            if not self._here[user]:
                del self._here[user]

    def _beat(self, loop: Loop) -> None:
        while True:
            now = time.monotonic()
            # Who was silent for so long was dead for others, and they have dropped its counts.
            if now - self._written > LEASE_SECONDS or now - self._all_written > EVERYTHING_SECONDS:
                self._changed.update(self._here)
                self._all_written = now
            try:
                self.write()
            except Full:
                pass  # who listens is served all the same
            self._written = now
            loop.well()
            gevent.sleep(BEAT_SECONDS)

    def write(self) -> None:
        """Write the sign of life and the counts that changed. Raises Unavailable; nothing is forgotten then."""
        self._store.one(("SET", self._keys.worker(self._worker_id), "", "EX", LEASE_SECONDS))
        changed = list(self._changed)
        for start in range(0, len(changed), BATCH):
            self._write_counts(changed[start : start + BATCH])

    def _write_counts(self, users: Sequence[str]) -> None:
        self._changed.difference_update(users)
        try:
            self._store.execute([command for user in users for command in self._count(user)])
        except Unavailable:
            self._changed.update(users)
            raise
        except Broken:
            pass  # somebody else's key; the others' counts are written

    def _count(self, user: str) -> list[Command]:
        key = self._keys.connections(user)
        if self._here[user] > 0:
            return [("HSET", key, self._worker_id, self._here[user]), ("EXPIRE", key, FORGET_SECONDS)]
        return [("HDEL", key, self._worker_id)]
