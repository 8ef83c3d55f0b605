"""Counts the connections of each user over all workers: a count per user and worker, and a lease per worker.

Counts are written as absolute numbers, so the next write corrects a lost or late one. The counts of a dead worker stop
counting when its lease expires.

Proxies that do not notice a closed tab fill a user's cap with streams that nobody reads. So at the cap a new stream is
served, and the oldest one ends, on whichever worker it is: the worker with the new stream has Redis store which stream
is to end and notify the worker that holds it. A worker that misses the message reads the list with its next beat.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import gevent

from pushsvc import metrics
from pushsvc.concurrency.loops import Loop
from pushsvc.errors import PushError, TooManyConnections, Unavailable, Unwritable, WrongType
from pushsvc.storage.counts.counted import Counted, Stream, StreamsHere, counted_name, is_user
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.living import LEASE_SECONDS, Living
from pushsvc.storage.redis.scripts import Command, Script

_ENTER: Final = Script("counts/enter")
_NOTE: Final = Script("counts/note")
_STAND: Final = Script("counts/stand")

BEAT_SECONDS: Final = 1.0  # how often changed counts and the lease are written
EVERYTHING_SECONDS: Final = 60.0  # how often all counts are written, in case other workers counted this one as dead
MOST_TIMES: Final = 1000  # most streams per user and worker whose times are stored: the oldest ones
BATCH: Final = 200  # users in one round trip, so that no request waits for a large batch
FORGET_SECONDS: Final = 7 * 86400
GIVE_WAY: Final = "give way"  # message to a worker that has streams to end; no generation has this name
_FULL, _IN, _OVER, _WHO_LIVES = range(4)  # what enter.lua answers
AT_ONCE: Final = 2  # streams that may end for a new one: two, so that an excess shrinks


class Presence:
    """Keeps the cap on connections per user."""

    def __init__(self, store: RedisClient, worker_id: str, max_per_user: int) -> None:
        self._store = store
        self._streams: StreamsHere | None = None  # none, until it is started
        self._clock: int | None = None  # of Redis, as far ahead of ours, in microseconds
        self._last = 0  # the last time that was given: each stream has one of its own
        self._keys = store.keys
        self._worker_id = worker_id
        self.living = Living(store, worker_id)
        self._max_per_user = max_per_user
        self._here: Counter[str] = Counter()
        self._changed: set[str] = set()
        self._noting: list[tuple[str, Callable[[], Any]]] = []  # users whose streams' times Redis may not have yet
        self._written = self._all_written = 0.0  # monotonic times
        self.refused: Unwritable | None = None  # why Redis takes no writes just now
        self.loop = Loop("presence", self._beat, expected=(Unavailable,))

    def start(self, streams: StreamsHere) -> None:
        """Write counts and the sign of life from now on; `streams` may have to give way. Harmless when repeated."""
        self._streams = streams
        self.loop.start()

    def count_in(self, connection: Counted) -> bool:
        """Count a connection in. True: older streams have to end for it, once it is accepted. Raises
        TooManyConnections, or Unavailable."""
        return self.begin_count_in(connection)()

    def begin_count_in(self, connection: Counted) -> Callable[[], bool]:
        """Count a connection in, but return the function that waits for Redis; it gives and raises what `count_in`
        does. If it is never called, the connection is to be counted out."""
        user = connection.counted_as
        streams = self._known(user)
        self._here[user], connection.counted = self._here[user] + 1, True
        if self._here[user] == 1 and is_user(user):
            metrics.USERS.inc()
        entry = self._store.begin(self._entry(connection, streams))
        return partial(self._counted_in, connection, streams, self._here[user], entry)

    def _counted_in(
        self, connection: Counted, streams: Sequence[Stream], written: int, entry: Callable[[], Any]
    ) -> bool:
        user = connection.counted_as
        try:
            state = self._entered(connection, entry)
        except Unwritable:  # as far as this worker knows
            over = _OVER if connection.ousts and streams else _FULL
            state = _IN if self._here[user] <= self._max_per_user else over
            self._changed.add(user)
        except BaseException:
            self.count_out(connection)
            raise
        # Of two concurrent scripts, the later one may have written the lower count.
        if written > 1 or self._here[user] > 1:
            self._changed.add(user)
        if state == _FULL:
            self.count_out(connection)
            raise TooManyConnections(
                f"This user already has {self._max_per_user} connections; close one first.", retry_after=5
            )
        return state == _OVER

    def _entered(self, connection: Counted, entry: Callable[[], Any]) -> int:
        """Wait for the script. It needs the names of the other live workers only at the cap: then it is called again
        with them."""
        while True:
            state, now, *found = entry()
            self._clock = int(now) - time.monotonic_ns() // 1000
            if state != _WHO_LIVES:
                return int(state)
            workers = [each.decode() for each in found]
            entry = self._store.begin(self._entry(connection, self._known(connection.counted_as), workers))

    def _entry(self, connection: Counted, streams: Sequence[Stream], workers: Sequence[str] = ()) -> Command:
        """The script call. `streams`: the user's others here that give way."""
        user = connection.counted_as
        names = [self._keys.connections(user), self._keys.streams(user), *map(self._keys.worker, workers)]
        return _ENTER.call(
            names, self._worker_id, self._here[user], self._max_per_user, FORGET_SECONDS, int(connection.ousts),
            _times(streams), *workers,
        )  # fmt: skip

    def _known(self, user: str) -> Sequence[Stream]:
        """The user's streams here that give way; none if there are too many to look at for each new one."""
        return self._giving_way(user) if self._here[user] <= MOST_TIMES else ()

    def _giving_way(self, user: str) -> Sequence[Stream]:
        return () if self._streams is None else self._streams.giving_way(user)

    def now(self) -> int:
        """The time by Redis's clock, in microseconds since 1970, later than any time that this returned before. Raises
        Unavailable if that clock is not known yet, and cannot be read."""
        if self._clock is None:
            seconds, rest = map(int, self._store.execute_one(("TIME",)))
            self._clock = seconds * 10**6 + rest - time.monotonic_ns() // 1000
        self._last = max(self._last + 1, time.monotonic_ns() // 1000 + self._clock)
        return self._last

    def note(self, user: str, began: int) -> None:
        """Note that a stream of the user began then, which gives way to newer ones from now on. This does not
        wait for Redis: the next beat writes what Redis refused."""
        if self._here[user] > 1:
            self._changed.add(user)
        if self._here[user] <= MOST_TIMES:
            call = _NOTE.call([self._keys.streams(user)], self._worker_id, began, FORGET_SECONDS)
            self._noting.append((user, self._store.begin(call)))

    def oust_for(self, user: str, began: int) -> None:
        """Make older streams of the user end for the one that began then and is accepted now. Raises Unavailable."""
        keys, workers = self._keys, [self._worker_id]
        while True:
            names = [keys.connections(user), keys.streams(user)]
            for each in workers:
                names += (keys.worker(each), keys.giving_way(each), keys.control(each))
            unknown = self._store.execute_one(
                _STAND.call(
                    names, self._max_per_user, began, AT_ONCE, GIVE_WAY, int(BEAT_SECONDS * 10), user,
                    *workers,
                )
            )  # fmt: skip
            if not unknown:
                return
            workers += [each.decode() for each in unknown]

    def give_way(self) -> None:
        """End the streams here that have to give way. Raises Unavailable."""
        for each in self._store.execute_one(("LPOP", self._keys.giving_way(self._worker_id), BATCH)) or ():
            user, _, began = each.decode().rpartition(" ")
            for stream in self._giving_way(user):
                if stream.began == int(began):
                    # At once, before its greenlet ends: a connection that is counted in now must not count it.
                    self.count_out(stream)
                    if self._streams is not None:
                        self._streams.oust(user, stream.began)
            # A beat may have rewritten a time meanwhile; then an ended stream would give way in place of an open one.
            for command in self._count(user):
                self._store.send(command)

    def on_control(self, word: str) -> bool:
        """Take a message of another worker. False: it is not about giving way."""
        if word == GIVE_WAY:
            gevent.spawn(self._give_way)
        return word == GIVE_WAY

    def _give_way(self) -> None:
        with contextlib.suppress(Unavailable):  # the next beat reads the list again
            self.give_way()

    def total(self, user: str) -> int:
        """The number of connections that the user has now, over all workers. Raises Unavailable."""
        held = self._store.execute_one(("HGETALL", self._keys.connections(user)))
        counts = {worker.decode(): int(n) for worker, n in zip(held[::2], held[1::2], strict=True)}
        counts.pop(self._worker_id, None)
        alive = self._store.execute([("EXISTS", self._keys.worker(worker)) for worker in counts]) if counts else []
        return self._here[user] + sum(n for n, lives in zip(counts.values(), alive, strict=True) if lives)

    def workers(self, user: str) -> dict[str, int]:
        """The workers that hold connections of a user, and how many each. Raises Unavailable."""
        held = self._store.execute_one(("HGETALL", self._keys.connections(counted_name(user))))
        return {worker.decode(): int(n) for worker, n in zip(held[::2], held[1::2], strict=True) if int(n) > 0}

    def count_out(self, connection: Counted) -> None:
        """Count a connection out; the next beat writes it to Redis. Harmless when repeated."""
        if connection.counted:
            user = connection.counted_as
            self._changed.add(user)
            self._here[user], connection.counted = self._here[user] - 1, False
            if not self._here[user]:
                del self._here[user]
                if is_user(user):
                    metrics.USERS.dec()

    def _beat(self, loop: Loop) -> None:
        while True:
            now = time.monotonic()
            # After so long a silence other workers count this one as dead, and have dropped its counts.
            if now - self._written > LEASE_SECONDS or now - self._all_written > EVERYTHING_SECONDS:
                self._changed.update(self._here)
                self._all_written = now
            try:
                self.write()
                self.refused = None
            except Unwritable as error:  # connected clients are served anyway
                self.refused = error
            self._written = now
            loop.report_healthy()
            gevent.sleep(BEAT_SECONDS)

    def write(self) -> None:
        """Write the lease and the changed counts. Streams that have to give way end first, because one that does not
        know that yet would be counted again. Raises Unavailable; then the next call writes them."""
        self.living.write(self.now() // 1000)
        self.give_way()
        self._check_notes()
        changed = list(self._changed)
        for start in range(0, len(changed), BATCH):
            self._write_counts(changed[start : start + BATCH])

    def _check_notes(self) -> None:
        """Find which times Redis refused; all were sent before the sign of life, so their answers are here."""
        noting, self._noting = self._noting, []
        for user, answer in noting:
            try:
                answer()
            except PushError:
                self._changed.add(user)

    def _write_counts(self, users: Sequence[str]) -> None:
        self._changed.difference_update(users)
        try:
            self._store.execute([command for user in users for command in self._count(user)])
        except Unavailable:
            self._changed.update(users)
            raise
        except WrongType:
            pass  # another program's key; the other counts are written

    def _count(self, user: str) -> list[Command]:
        key, times = self._keys.connections(user), _times(self._giving_way(user)[:MOST_TIMES])
        began: list[Command] = [("HDEL", self._keys.streams(user), self._worker_id)]
        if times:
            streams = self._keys.streams(user)
            began = [("HSET", streams, self._worker_id, times), ("EXPIRE", streams, FORGET_SECONDS)]
        if self._here[user] > 0:
            return [("HSET", key, self._worker_id, self._here[user]), ("EXPIRE", key, FORGET_SECONDS), *began]
        return [("HDEL", key, self._worker_id), *began]


def _times(streams: Sequence[Stream]) -> str:
    return " ".join(str(each.began) for each in streams)
