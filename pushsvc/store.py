"""Redis as the rest of the service sees it: pipelines of commands and scripts, with errors in our own words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionInterface
from redis.exceptions import BusyLoadingError, NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.retry import Retry

from pushsvc import cluster, sentinels
from pushsvc.addresses import CLUSTER_SCHEMES, SENTINEL_SCHEMES
from pushsvc.commands import Command, Script
from pushsvc.errors import Broken, Full, PushError, Unavailable, Unreached
from pushsvc.keys import ALONE, Keys
from pushsvc.lane import Lane, NotSent
from pushsvc.succession import ELSEWHERE, Succession

logger = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 2.0  # a Redis that is silent for longer counts as gone
WAIT_MS: Final = 1000  # how long replicas may take to confirm
ASK_SECONDS: Final = 0.5  # as long may a sentinel, or a node of a cluster, take to say where the master is


def connect(url: str, greet: Callable[[ConnectionInterface], None] | None = None, keys: Keys = ALONE) -> redis.Redis:
    """A client for the partition of these `keys`. It never retries by itself: a retried append could be a doubled
    event. `greet` makes the first words on each connection. Raises ValueError."""
    options: dict[str, Any] = {
        "redis_connect_func": greet,
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

    def __init__(
        self, client: redis.Redis, keys: Keys = ALONE, succession: Succession | None = None, *, wait_replicas: int = 0
    ) -> None:
        """`keys`: of the partition that it is for. `succession`: what greets on the client's connections.
        `wait_replicas`: how many must have what is `kept`."""
        self.keys = keys
        self.succession = succession or Succession(keys)
        self._wait_replicas = wait_replicas
        self._lane = Lane(client, self.succession)
        self._reads = Lane(client, self.succession)
        # Of its own: nothing else shall wait for replicas. One answer is for all that were asked in a round trip.
        wait = ("WAIT", wait_replicas, WAIT_MS)
        self._kept = Lane(client, self.succession, last=wait) if wait_replicas else self._lane

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

    def each(self, commands: Sequence[Command]) -> list[Any]:
        """As `execute`, but what Redis refused is an exception among the answers."""
        return self._run(self._lane, commands, refusals=True)

    def kept_each(self, commands: Sequence[Command]) -> list[Any]:
        """As `each`; raises Unavailable also if not enough replicas have what was written, or say so: another master
        may lack it."""
        if not self._wait_replicas:
            return self.each(commands)
        *answers, replicas = self._run(self._kept, commands, refusals=True)
        if isinstance(replicas, Exception) or replicas < self._wait_replicas:
            raise Unavailable("Too few of Redis's replicas have this event; try again.", retry_after=1)
        return answers

    def one(self, command: Command) -> Any:
        """The answer to a single command."""
        return self.execute([command])[0]

    def _run(self, lane: Lane, commands: Sequence[Command], *, refusals: bool = False) -> list[Any]:
        try:
            answers = lane.run(commands)
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if missing:
                taught = self._taught(lane, [commands[i] for i in missing])
                again = [*missing, *range(len(commands), len(answers))]
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
            return [error] * (len(commands) + lane.extra)

    def load_scripts(self) -> None:
        """Raises NotSent: nothing has happened."""
        try:
            answers = self._lane.run([("SCRIPT", "LOAD", script.source) for script in Script.all])
        except RedisError as error:
            raise NotSent(str(error)) from error
        for answer in answers:
            if isinstance(answer, RedisError):
                raise NotSent(str(answer)) from answer


_NOTHING_DONE: Final = (NotSent, NoScriptError, BusyLoadingError, *ELSEWHERE)


def refusal(error: Exception) -> PushError:
    """What Redis said, in our words; the operator finds its own in the log."""
    text = str(error)
    reason = error.__cause__ if isinstance(error, NotSent) else error  # why there is no connection
    if text.startswith("WRONGTYPE"):
        return Broken("What Redis keeps for this is not what it should be; an operator must remove it.")
    if isinstance(error, OutOfMemoryError):
        return Full("Redis has no memory left; try again later.", retry_after=5)
    if text.startswith("MISCONF"):  # it refuses to change what it could not write down
        return Full("Redis cannot write to its disk; try again later.", retry_after=5)
    if isinstance(reason, ReadOnlyError):
        return Unreached("Redis is a read-only replica; try again.", retry_after=1)
    if isinstance(error, _NOTHING_DONE):
        return Unreached("Redis does not answer; try again.", retry_after=1)
    return Unavailable("Redis does not answer; try again.", retry_after=1)
