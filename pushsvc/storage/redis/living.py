"""The workers that live: each has a lease, and a place in a list by the time of its last sign of life."""

from __future__ import annotations

from typing import Final

from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.scripts import Command

LEASE_SECONDS: Final = 3  # a worker that was silent for so long counts as dead
_FORGET_MS: Final = 3600_000
_MOST_WORKERS: Final = 10_000


class Living:
    """Gives signs of life for this worker, and knows the others. Times are in ms since 1970, by Redis's clock."""

    def __init__(self, store: RedisClient, worker_id: str) -> None:
        self._store = store
        self._keys = store.keys
        self._worker_id = worker_id

    def sign(self) -> Command:
        """The command that renews this worker's lease."""
        return ("SET", self._keys.worker(self._worker_id), "", "EX", LEASE_SECONDS)

    def write(self, now: int) -> None:
        """Renew the lease, and stand in the list. Raises Unavailable."""
        self._store.execute([self.sign(), ("ZADD", self._keys.workers, now, self._worker_id)])

    def workers(self, now: int) -> list[str]:
        """List the workers that live, and forget those that have long been dead. Raises Unavailable."""
        listed = self._store.execute_one(("ZREVRANGE", self._keys.workers, 0, _MOST_WORKERS, "WITHSCORES"))
        silent = {name.decode(): now - int(float(at)) for name, at in _pairs(listed)}
        dead = [name for name, ms in silent.items() if ms > _FORGET_MS]
        if dead:
            self._store.execute_one(("ZREM", self._keys.workers, *dead))
        return [name for name, ms in silent.items() if ms <= LEASE_SECONDS * 1000]

    def leave(self) -> None:
        """Take this worker off the list. Raises Unavailable."""
        self._store.execute_one(("ZREM", self._keys.workers, self._worker_id))


def _pairs(listed: list[bytes] | list[list[bytes]]) -> list[tuple[bytes, bytes]]:
    """Names and scores, which come flat in RESP2 and paired in RESP3."""
    if listed and isinstance(listed[0], list):
        return [(pair[0], pair[1]) for pair in listed]
    return list(zip(listed[::2], listed[1::2], strict=True))  # type: ignore[arg-type]
