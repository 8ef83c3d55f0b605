"""Redis as the rest of the service sees it: pipelines of commands and scripts, with errors in our own words."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, ClassVar, Final

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.retry import Retry

from pushsvc import cluster, sentinels
from pushsvc.addresses import CLUSTER_SCHEMES, SENTINEL_SCHEMES
from pushsvc.errors import Broken, Full, PushError, Unavailable, Unreached
from pushsvc.keys import ALONE, Keys
from pushsvc.lane import Command, Lane, NotSent

logger = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 2.0  # a Redis that is silent for longer counts as gone
ASK_SECONDS: Final = 0.5  # as long may a sentinel, or a node of a cluster, take to say where the master is


class Script:
    """One file of `lua/`, whose header names KEYS, ARGV and what comes back."""

    all: ClassVar[list[Script]] = []

    def __init__(self, name: str, *, after: str | None = None) -> None:
        """`after`: a file whose functions it uses."""
        self.source = b"".join(_lua(each) for each in (after, name) if each)
        self.all.append(self)
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest()  # EVALSHA names scripts by SHA-1

    def call(self, keys: Sequence[str], *args: Any) -> Command:
        """The command that runs the script."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


def _lua(name: str) -> bytes:
    return resources.files("pushsvc").joinpath("lua", f"{name}.lua").read_bytes()


def connect(
    url: str, greet: Callable[[ConnectionInterface, Keys], None] | None = None, keys: Keys = ALONE
) -> redis.Redis:
    """A client for the partition of these `keys`. It never retries by itself: a retried append could be a doubled
    event. `greet` makes the first words on each connection. Raises ValueError."""
    options: dict[str, Any] = {
        "redis_connect_func": None if greet is None else lambda connection: greet(connection, keys),
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if url.startswith(SENTINEL_SCHEMES):
        return redis.Redis(connection_pool=sentinels.pool(url, ASK_SECONDS, **options))
    if url.startswith(CLUSTER_SCHEMES):
        return redis.Redis(connection_pool=cluster.pool(url, keys, ASK_SECONDS, **options))
    return redis.Redis(connection_pool=redis.ConnectionPool.from_url(url, **options))


class Store:
    """Runs commands in one round trip and gives their answers in order. No connection goes back to a pool: a request
    that is cancelled between its command and the answer would leave that to the next who gets it."""

    def __init__(self, client: redis.Redis, keys: Keys = ALONE) -> None:
        """`keys`: of the partition that it is for."""
        self.keys = keys
        self._lane = Lane(client)
        self._reads = Lane(client)

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Raises Unavailable when Redis does not answer or refuses, as Unreached if nothing was done; Broken, see
        `refusal`."""
        return self._run(self._lane, commands)

    def read(self, commands: Sequence[Command]) -> list[Any]:
        """As `execute`, for answers that may be large: nothing else waits behind them."""
        return self._run(self._reads, commands)

    def read_each(self, commands: Sequence[Command]) -> list[Any]:
        """As `read`, but what Redis refused is an exception among the answers."""
        return self._run(self._reads, commands, refusals=True)

    def renew_reads(self) -> None:
        """What answers the reads is not, or may not be, who has the data now. Those under way raise Unavailable."""
        self._reads.renew()

    def each(self, commands: Sequence[Command], *last: Command) -> list[Any]:
        """As `execute`, but what Redis refused is an exception among the answers. `last` is run after all of them, on
        the same connection."""
        return self._run(self._lane, commands, *last, refusals=True)

    def one(self, command: Command) -> Any:
        """The answer to a single command."""
        return self.execute([command])[0]

    def _run(self, lane: Lane, commands: Sequence[Command], *last: Command, refusals: bool = False) -> list[Any]:
        try:
            answers = lane.run([*commands, *last])
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if missing:
                again = [*missing, *range(len(commands), len(answers))]
                taught = self._taught(lane, [*(commands[i] for i in missing), *last])
                for i, answer in zip(again, taught, strict=True):
                    answers[i] = answer
        except RedisError as error:
            logger.warning("redis: %s: %s", type(error).__name__, error)
            raise refusal(error) from error
        refused = {str(answer): answer for answer in answers if isinstance(answer, Exception)}
        for text, answer in refused.items():
            logger.warning("redis: %s: %s", type(answer).__name__, text)
            if not refusals:
                raise refusal(answer) from answer
        return answers

    def _taught(self, lane: Lane, commands: Sequence[Command]) -> list[Any]:
        """By a fresh or restarted Redis, that knew no script; what it did not know it did not run either."""
        try:
            self.load_scripts()
            return lane.run(commands)
        except NotSent as error:
            return [error] * len(commands)

    def load_scripts(self) -> None:
        """Raises NotSent: nothing has happened."""
        try:
            answers = self._lane.run([("SCRIPT", "LOAD", script.source) for script in Script.all])
        except RedisError as error:
            raise NotSent(str(error)) from error
        for answer in answers:
            if isinstance(answer, RedisError):
                raise NotSent(str(answer)) from answer


# What is asked for has moved, is about to, or cannot be had of anybody just now (as ClusterDownError: MASTERDOWN, too).
ELSEWHERE: Final = (AskError, MovedError, TryAgainError, ClusterDownError)
_NOTHING_DONE: Final = (NotSent, NoScriptError, BusyLoadingError, *ELSEWHERE)


def refusal(error: Exception) -> PushError:
    """What Redis said, in our words; the operator finds its own in the log."""
    text = str(error)
    if text.startswith("WRONGTYPE"):
        return Broken("What Redis keeps for this is not what it should be; an operator must remove it.")
    if isinstance(error, OutOfMemoryError):
        return Full("Redis has no memory left; try again later.", retry_after=5)
    if text.startswith("MISCONF"):  # it refuses to change what it could not write down
        return Full("Redis cannot write to its disk; try again later.", retry_after=5)
    if isinstance(error, ReadOnlyError):
        return Unreached("Redis is a read-only replica; try again.", retry_after=1)
    if isinstance(error, _NOTHING_DONE):
        return Unreached("Redis does not answer; try again.", retry_after=1)
    return Unavailable("Redis does not answer; try again.", retry_after=1)
