"""Takes tokens back, on all workers: Redis keeps what was revoked for good, as nobody knows how long a token lives.
Each worker looks for more twice a second, and writes again what Redis has lost of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import gevent
import orjson

from pushsvc.concurrency.loops import Loop
from pushsvc.errors import Unavailable
from pushsvc.storage.redis.client import RedisClient
from pushsvc.tokens.revocations import Revocations

LOOK_SECONDS: Final = 0.5
PAGE: Final = 1000  # read in one command


class Revocation(NamedTuple):
    """A token's id, or a user whose tokens that were issued until `until` (Unix time) are void."""

    token: str | None = None
    user: str | None = None
    until: float = 0.0


class Revoking:
    """Revokes, and follows what other workers revoke."""

    def __init__(self, store: RedisClient, known: Revocations, end: Callable[[Revocation], object]) -> None:
        """`end`: ends the connections here that were opened with what is revoked."""
        self._store = store
        self._known = known
        self._end = end
        self._seen: set[bytes] = set()  # members that are known here
        self._mark: object = None  # how many members Redis had when all were read, and the newest of them
        self._loaded = False
        self.loop = Loop("revocations", self._run, expected=(Unavailable,))

    def unready(self) -> str | None:
        """Say why this worker should get no traffic: it would take tokens that were revoked before it began. None: it
        should, and also where Redis cannot be asked by any worker, or lets none ask."""
        if self._loaded or self._store.lost or self.loop.refused is not None:
            return None
        return "The revoked tokens are not read yet."

    def revoke(self, revocation: Revocation, now: int) -> None:
        """Revoke on all workers, here at once. `now`: Redis's wall clock, in ms since 1970. Raises Unavailable."""
        member = orjson.dumps(list(revocation))
        self._store.execute_one(("ZADD", self._store.keys.revocations, now, member))
        self._take(revocation)

    def _run(self, loop: Loop) -> None:
        while True:
            self._look()
            loop.report_healthy()
            gevent.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        """Take what is new. At first that is all there is; of it nothing was opened here. The number alone shows that
        there is more: times may step back; the newest shows that as many are others, in data that began anew."""
        key = self._store.keys.revocations
        mark = self._store.execute([("ZCARD", key), ("ZREVRANGE", key, 0, 0)])
        if self._loaded and mark == self._mark:
            return
        found = set(self._all())
        for member in found - self._seen:
            self._take(Revocation(*orjson.loads(member)))
        lost = list(self._seen - found)
        self._seen |= found
        self._loaded = True
        for start in range(0, len(lost), PAGE):  # by a FLUSHALL, or a failover: workers that begin later must know
            page = lost[start : start + PAGE]
            self._store.execute_one(("ZADD", key, *(word for member in page for word in (0, member))))
        self._mark = mark

    def _all(self) -> Iterator[bytes]:
        start = 0
        while page := self._store.execute_one(("ZREVRANGE", self._store.keys.revocations, start, start + PAGE - 1)):
            yield from page
            start += PAGE

    def _take(self, revocation: Revocation) -> None:
        self._known.add(token=revocation.token, user=revocation.user, until=revocation.until)
        if self._loaded:
            self._end(revocation)
