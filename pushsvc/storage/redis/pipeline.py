"""Automatic pipelining: all greenlets share one connection to Redis, and their commands that arrive while it waits for
an answer are sent together, in one round trip. So many publishes or joins at once cost Redis and this process a
fraction of as many round trips."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

import gevent
import gevent.event
import hiredis
import redis
from gevent.event import AsyncResult
from gevent.monkey import is_module_patched
from redis.connection import ConnectionInterface
from redis.exceptions import ResponseError

from pushsvc import metrics
from pushsvc.concurrency.loops import TimeSlice
from pushsvc.storage.redis.fencing import Fence, Fenced
from pushsvc.storage.redis.largest import LARGE, longest
from pushsvc.storage.redis.requests import Request, Requests
from pushsvc.storage.redis.scripts import Command
from pushsvc.storage.redis.topology.demoted import is_demoted

logger = logging.getLogger(__name__)

IDLE_SECONDS: Final = 0.05  # a connection unused for so long is checked before use


class NotSent(redis.ConnectionError):
    """No connection could be made: Redis has not received the commands."""


class AutoPipeline:
    """A shared connection. Each caller gets exactly its own answers: a connection is not used again after any error.
    Commands run in the order of the calls, those of each owner in turn with those of others."""

    def __init__(
        self,
        client: redis.Redis,
        fence: Fence,
        last: Command | None = None,
        *,
        apart: Callable[[AutoPipeline, Sequence[Command]], list[Any]] | None = None,
    ) -> None:
        """`last`: a command to run after each round trip; each caller gets its answer after their own. `apart`: runs
        commands with large values instead."""
        self._client = client
        self._apart = apart
        self._pool = client.connection_pool
        self._fence = fence
        self._epoch = b""  # the data's epoch when the connection was made
        self._last = [] if last is None else [hiredis.pack_command(last)]
        self._requests = Requests()
        self._wake = gevent.event.Event()
        self._worker: gevent.Greenlet | None = None
        self._connection: ConnectionInterface | None = None
        self._used = 0.0  # monotonic time
        self._lock = threading.Lock()

    @property
    def extra(self) -> int:
        """The number of answers beside those of the commands."""
        return len(self._last)

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order; each refusal is an exception among them. Raises NotSent; or another RedisError, if it
        is unknown which commands ran."""
        return self.begin(commands)()

    def begin(
        self, commands: Sequence[Command], owner: str = "", weights: Sequence[int] = ()
    ) -> Callable[[], list[Any]]:
        """Ask Redis at once, and return the function that waits for the answers. That function gives and raises what
        `run` does. `owner`: whose commands these are, if they may be many, and need no order with those of others; an
        error may then stand for a part of them. `weights`: as how many each of them counts."""
        pieces = [hiredis.pack_command(command) for command in commands]
        packed = b"".join(pieces)
        # The cheapest test first.
        large = len(packed) > LARGE and max(map(len, pieces)) > LARGE and max(map(longest, commands)) > LARGE
        if large and self._apart is not None:
            return partial(self._apart, self, commands)
        if not is_module_patched("socket"):
            return self._begin_in_thread(packed, len(commands))
        whole = not owner or bool(self._last)  # else what is asked last would hold for the last part alone
        wait: Callable[[], list[Any]] = self._ask(Request(pieces, owner, weights, whole=whole)).get
        return wait

    def send(self, commands: Sequence[Command]) -> None:
        """Run commands before all later ones, as `run` does, but without waiting for answers."""
        pieces = [hiredis.pack_command(command) for command in commands]
        if is_module_patched("socket"):
            self._ask(Request(pieces))
        else:
            with contextlib.suppress(redis.RedisError):
                self._run_in_thread(b"".join(pieces), len(commands))

    def once(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands like `run`, on a connection that is made for them alone."""
        single = AutoPipeline(self._client, self._fence)
        single._last = self._last
        try:
            return single._exchange([_packed(commands)], len(commands))
        except OSError as error:
            raise redis.ConnectionError(str(error)) from error
        finally:
            single._drop()

    def _ask(self, request: Request) -> AsyncResult[list[Any]]:
        self._requests.put(request)
        if self._worker is None or self._worker.dead:
            self._worker = gevent.spawn(self._work)  # not in this greenlet, which may be killed halfway
        self._wake.set()
        return request.place

    def _begin_in_thread(self, packed: bytes, count: int) -> Callable[[], list[Any]]:
        outcome: Future[list[Any]] = Future()
        try:
            outcome.set_result(self._run_in_thread(packed, count))
        except (redis.RedisError, OSError) as error:
            outcome.set_exception(error)
        return outcome.result

    def _run_in_thread(self, packed: bytes, count: int) -> list[Any]:
        """Run at once, under a lock: on a threaded server there are no greenlets to share a round trip with."""
        with self._lock:
            try:
                return self._exchange([packed], count)
            except BaseException:
                self._drop()
                raise

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._requests:
                self._trip()

    def _trip(self) -> None:
        batch, packed = self._requests.take()
        count = sum(request.asked for request in batch)
        if not batch:
            return
        try:
            answers = self._exchange(packed, count)
        except BaseException as error:
            self._drop()
            failed = _translated(error)
            for request in batch:
                request.fail(failed, NotSent("what came before it failed"))
            if isinstance(error, NotSent):  # the queued commands would fail in the same way, one after the other
                for request in self._requests.clear():
                    request.fail(failed, failed)
            if not isinstance(error, Exception):
                raise
            return
        at, last = 0, answers[count:]
        for request in batch:
            end = at + request.asked
            request.answer(answers[at:end], last)
            at = end

    def _exchange(self, packed: list[bytes], count: int) -> list[Any]:
        began = time.monotonic()
        connection = self._sent(b"".join(packed + self._last))
        answers, turn, useless = [], TimeSlice(), False
        for _ in range(count + len(self._last)):
            try:
                answers.append(connection.read_response(disconnect_on_error=False))
            except redis.RedisError as error:
                if not _is_said(error):
                    raise
                answers.append(error)
                useless = useless or is_demoted(error) or isinstance(error, redis.ConnectionError)  # or LOADING, NOAUTH
            turn.yield_if_over()  # reading what is there already never yields by itself
        self._used = time.monotonic()
        metrics.REDIS.observe(self._used - began)
        if useless:
            self._drop()
        if self._outlived():
            raise Fenced("this Redis was replaced while it was asked")
        return answers

    def _sent(self, packed: bytes) -> ConnectionInterface:
        """Send, and return the connection that was used. Raises NotSent; or another error, if it is unknown what was
        sent."""
        for number in range(2):
            try:
                connection = self._connected()
            except (redis.RedisError, OSError) as error:
                raise NotSent(str(error)) from error
            try:
                connection.send_packed_command([packed], check_health=False)
                break
            except NotSent:  # another Redis may be the master by now
                self._drop()
                if number:
                    raise
        return connection

    def _connected(self) -> ConnectionInterface:
        idle = time.monotonic() - self._used > IDLE_SECONDS
        if self._connection is not None and (self._outlived() or (idle and self._stale())):
            self._drop()
        if self._connection is None:
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
            connection.connect()
            self._connection, self._epoch = connection, self._fence.epochs.current
        elif self._fence.begin_owed_epoch(self._connection):
            self._epoch = self._fence.epochs.current
        return self._connection

    def _outlived(self) -> bool:
        """Whether the epoch in which the connection was made is over, or its Redis is no master any more."""
        if self._connection is not None and self._fence.is_unusable(self._connection):
            return True
        epochs = self._fence.epochs
        return self._epoch != epochs.current and epochs.end_of(self._epoch) is not None

    def _stale(self) -> bool:
        """Whether Redis closed the connection, or sent unrequested data."""
        assert self._connection is not None
        try:
            return bool(self._connection.can_read(0))
        except (redis.RedisError, OSError):
            return True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _is_said(error: redis.RedisError) -> bool:
    """Whether the error is an answer to one command, and the connection stays good: redis-py reports some answers
    (LOADING, NOAUTH) as connection errors."""
    return isinstance(error, ResponseError) or error.status_code is not None


def _packed(commands: Sequence[Command]) -> bytes:
    return b"".join([hiredis.pack_command(command) for command in commands])


def _translated(error: BaseException) -> redis.RedisError:
    if isinstance(error, redis.RedisError):
        return error
    if not isinstance(error, OSError):
        logger.error("an exchange with Redis failed", exc_info=error)
    return redis.ConnectionError(str(error))
