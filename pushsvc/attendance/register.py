"""Writes down who is connected, for the hooks: exactly one arrival and one departure for each user and topic over all
workers, also when workers are killed.

Each worker compares once a second who is here with what it wrote before, and Redis counts the workers that have a name.
A name that has been nowhere for a while has departed; a page that reconnects within that time was never away. The names
of a worker without a lease are taken from it by the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import gevent

from pushsvc.concurrency.loops import Loop
from pushsvc.delivery.hub import Hub
from pushsvc.errors import Unavailable
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.keys import Keys, place
from pushsvc.storage.redis.living import LEASE_SECONDS
from pushsvc.storage.redis.scripts import Command, Script

_ATTEND: Final = Script("attendance/attend", after="attendance/turnout")
_BURY: Final = Script("attendance/bury", after="attendance/turnout")
_DEPART: Final = Script("attendance/depart", after="attendance/turnout")

LOOK_SECONDS: Final = 1.0
AWAY_SECONDS: Final = 3.0  # beside the time in which clients reconnect
BATCH: Final = 200  # names in one script, so that no request waits for many
# Redis must have answered for so long before a worker counts as dead: while it hangs, nobody can renew a lease.
STEADY_SECONDS: Final = LEASE_SECONDS + 3.0


def trial(keys: Keys, worker: str) -> list[Command]:
    """Each script once, on keys of its own, so that nobody is told anything."""
    here, who, away, hooks, ids, attending = (keys.here(f"{worker} {number}") for number in range(6))
    return [
        _ATTEND.call([here, who, away, hooks, ids, attending], worker, 0, 1, "user:came"),
        _ATTEND.call([here, who, away, hooks, ids, attending], worker, 0, 0, "user:came"),
        _BURY.call([here, who, away, attending, keys.worker(worker)], worker, 0, BATCH),
        _DEPART.call([who, away, hooks, ids], BATCH),
    ]


class Register:
    """The names that are here, in all partitions of this worker."""

    def __init__(self, worker_id: str, retry_seconds: float) -> None:
        """`retry_seconds`: the setting after which clients reconnect."""
        self._worker_id = worker_id
        self._away_ms = int((AWAY_SECONDS + 1.5 * retry_seconds) * 1000)
        self._parts: list[tuple[Hub, RedisClient]] = []
        self._written: list[set[str] | None] = []  # what Redis has, by partition; None: not known
        self._steady_since = self._answered = float("inf")
        self._suspects: set[str] = set()
        self.loop = Loop("register", self._run, expected=(Unavailable,))

    def cover(self, hub: Hub, store: RedisClient) -> None:
        """Write down who is in one more partition."""
        hub.newcomers = set()
        self._parts.append((hub, store))
        self._written.append(set())

    def stop(self) -> None:
        """Write who came, and that nobody is here any more. Raises Unavailable."""
        self.loop.stop()
        self._write(self._here())
        self._write([set() for _ in self._parts])

    def _run(self, loop: Loop) -> None:
        while True:
            self._write(self._here())
            suspects = set(self._silent())
            if self._steady():
                self._bury(suspects & self._suspects)
                self._depart()
            self._suspects = suspects
            loop.report_healthy()
            gevent.sleep(LOOK_SECONDS)

    def _here(self) -> list[set[str]]:
        """The names that are here now, and the newcomers', by the partition that counts them: a user's own; any, but
        always the same, for a topic. Newcomers may have left again: a look may be late, and who stayed for less than
        that is told of, too."""
        found: list[set[str]] = [set() for _ in self._parts]
        for number, (hub, _) in enumerate(self._parts):
            for name in {*hub.subscribers.channels.followed(), *(hub.newcomers or ())}:
                kind, _, rest = name.partition(":")
                if kind == "user":
                    found[number].add(name)
                elif kind == "topic":
                    found[place(rest, len(self._parts))].add(name)
        return found

    def _write(self, here: Sequence[set[str]]) -> None:
        """Write the names of each partition. Raises Unavailable if one is away, after the others were written."""
        away: Unavailable | None = None
        for number, names in enumerate(here):
            try:
                self._write_part(number, names)
            except Unavailable as error:
                self._written[number] = None  # it is not known whether the script ran
                away = error
            else:
                self._forget(names)
        if away is not None:
            raise away

    def _forget(self, written: set[str]) -> None:
        """Forget newcomers, of whichever partition: the part that counts them has their names."""
        for hub, _ in self._parts:
            if hub.newcomers is not None:
                hub.newcomers -= hub.newcomers & written

    def _write_part(self, number: int, here: set[str]) -> None:
        written = self._written[number]
        if written is None:
            written = self._written[number] = self._read(number)
        if not here and not written:
            return
        if self._differences(number, here, written) != len(here):
            # Others took this worker for dead, or Redis has lost its data.
            written = self._written[number] = self._read(number)
            self._differences(number, here, written)

    def _differences(self, number: int, here: set[str], written: set[str]) -> int:
        """Write how the two differ, and give how many names Redis has then."""
        came, left, held = sorted(here - written), sorted(written - here), 0
        for start in range(0, max(len(came), len(left), 1), BATCH):
            some, gone = came[start : start + BATCH], left[start : start + BATCH]
            held = self._attend(number, some, gone)
            written.update(some)
            written.difference_update(gone)
        return held

    def _read(self, number: int) -> set[str]:
        """The names that Redis has of this worker."""
        _, store = self._parts[number]
        names = store.execute_one(("ZREVRANGE", store.keys.here(self._worker_id), 0, -1))
        return {each.decode() for each in names}

    def _attend(self, number: int, came: Sequence[str], left: Sequence[str]) -> int:
        _, store = self._parts[number]
        keys = store.keys
        names = [keys.here(self._worker_id), keys.who, keys.away, keys.hooks, keys.hook_ids, keys.attending]
        call = _ATTEND.call(names, self._worker_id, self._away_ms, len(came), *came, *left)
        return int(store.execute_one(call))

    def _silent(self) -> Iterator[str]:
        """The workers that have names, and no lease."""
        for _, store in self._parts:
            workers = [each.decode() for each in store.execute_one(("SMEMBERS", store.keys.attending))]
            leases = store.execute([("EXISTS", store.keys.worker(each)) for each in workers]) if workers else []
            yield from (each for each, lease in zip(workers, leases, strict=True) if not lease)

    def _steady(self) -> bool:
        """Whether Redis has answered without a break for a while. To be called whenever it has answered."""
        now = time.monotonic()
        if now - self._answered > LOOK_SECONDS + LEASE_SECONDS or self._steady_since > now:
            self._steady_since = now
        self._answered = now
        return now - self._steady_since >= STEADY_SECONDS

    def _bury(self, dead: set[str]) -> None:
        for _, store in self._parts:
            keys = store.keys
            for worker in dead:
                names = [keys.here(worker), keys.who, keys.away, keys.attending, keys.worker(worker)]
                while store.execute_one(_BURY.call(names, worker, self._away_ms, BATCH)):
                    pass

    def _depart(self) -> None:
        for _, store in self._parts:
            keys = store.keys
            call = _DEPART.call([keys.who, keys.away, keys.hooks, keys.hook_ids], BATCH)
            while store.execute_one(call) == BATCH:
                pass
