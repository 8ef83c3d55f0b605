"""One connection to Redis that all greenlets share: what they ask while an answer is awaited leaves together, in one
round trip. So a crowd of publishers or joiners costs Redis and this process a fraction of what they would one by one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import gevent
import gevent.event
import redis
from gevent.event import AsyncResult
from redis.connection import ConnectionInterface
from redis.exceptions import ResponseError

Command = tuple[Any, ...]

MOST_COMMANDS: Final = 1000  # in one round trip, unless a single request brings more
IDLE_SECONDS: Final = 0.05  # a connection unused for so long is looked at before it is trusted


class Lane:
    """Answers reach exactly who asked: a connection on which anything went wrong is never used again."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._queue: deque[tuple[Sequence[Command], AsyncResult[list[Any]]]] = deque()
        self._wake = gevent.event.Event()
        self._worker: gevent.Greenlet | None = None
        self._connection: ConnectionInterface | None = None
        self._used = 0.0  # monotonic time

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order; one that Redis refused is an exception among them. Raises RedisError."""
        place: AsyncResult[list[Any]] = AsyncResult()
        self._queue.append((commands, place))
        if self._worker is None or self._worker.dead:
            self._worker = gevent.spawn(self._work)  # not in this greenlet, which may be killed halfway
        self._wake.set()
        answers: list[Any] = place.get()
        return answers

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._trip()

    def _trip(self) -> None:
        batch = [self._queue.popleft()]
        count = len(batch[0][0])
        while self._queue and count + len(self._queue[0][0]) <= MOST_COMMANDS:
            batch.append(self._queue.popleft())
            count += len(batch[-1][0])
        try:
            answers = self._exchange([command for commands, _ in batch for command in commands])
        except BaseException as error:
            self._drop()
            for _, place in batch:
                place.set_exception(error if isinstance(error, redis.RedisError) else redis.ConnectionError(str(error)))
            if not isinstance(error, (redis.RedisError, OSError)):
                raise
            return
        at = 0
        for commands, place in batch:
            place.set(answers[at : at + len(commands)])
            at += len(commands)

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connected()
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        answers = []
        for _ in commands:
            try:
                answers.append(connection.read_response())
            except ResponseError as refusal:
                answers.append(refusal)
        self._used = time.monotonic()
        return answers

    def _connected(self) -> ConnectionInterface:
        if self._connection is not None and time.monotonic() - self._used > IDLE_SECONDS and self._stale():
            self._drop()
        if self._connection is None:
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
            connection.connect()
            self._connection = connection
        return self._connection

    def _stale(self) -> bool:
        """Closed by Redis, or something came that nobody asked for."""
        assert self._connection is not None
        try:
            return bool(self._connection.can_read(0))
        except (redis.RedisError, OSError):
            return True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
