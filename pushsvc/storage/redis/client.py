"""Redis as the rest of the service sees it: pipelines of commands and scripts, with errors in our own words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis
from redis.connection import ConnectionInterface
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from pushsvc.addresses import redis_address
from pushsvc.addresses.redis_address import CLUSTER_SCHEMES, SENTINEL_SCHEMES
from pushsvc.errors import (
    NoRights,
    NotApplied,
    OutOfSpace,
    PushError,
    ReadsOnly,
    TooFewReplicas,
    TooLarge,
    Unavailable,
    Unconfirmed,
    WrongType,
)
from pushsvc.storage.redis.apart import Apart
from pushsvc.storage.redis.fencing import ELSEWHERE, Fence
from pushsvc.storage.redis.keys import ALONE, Keys
from pushsvc.storage.redis.largest import TooLong
from pushsvc.storage.redis.pipeline import AutoPipeline, NotSent
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.redis.topology import cluster, connecting, sentinels
from pushsvc.storage.redis.topology.nodes import Nodes

logger = logging.getLogger(__name__)

WAIT_MS: Final = 1000  # how long replicas may take to confirm
LOG_SECONDS: Final = 1.0  # between two lines that say the same, doubled while that goes on, up to
LONGEST_LOG_SECONDS: Final = 60.0
MOST_SAID: Final = 1000  # different lines that are remembered
ASK_SECONDS: Final = 0.5  # as long may a sentinel, or a node of a cluster, take to say where the master is


def connect(
    url: str,
    handshake: Callable[[ConnectionInterface], None] | None = None,
    keys: Keys = ALONE,
    password_file: Path | None = None,
) -> redis.Redis:
    """A client for the partition of these `keys`. It never retries by itself: a retried append could be a doubled
    event. `handshake` makes the first words on each connection. Raises ValueError."""
    found = redis_address.parse(url)
    options = connecting.common(found, password_file) | {"redis_connect_func": handshake}
    if found.scheme in SENTINEL_SCHEMES:
        return redis.Redis(connection_pool=sentinels.pool(found, ASK_SECONDS, **options))
    if found.scheme in CLUSTER_SCHEMES:
        return redis.Redis(connection_pool=cluster.pool(found, keys, ASK_SECONDS, **options))
    return redis.Redis(connection_pool=redis.ConnectionPool(**connecting.place(found), **options))


def nodes_of(url: str, password_file: Path | None = None) -> Nodes:
    """Those of a cluster. Raises ValueError."""
    found = redis_address.parse(url)
    return cluster.nodes_of(found, ASK_SECONDS, **connecting.common(found, password_file))


class RedisClient:
    """Runs commands in one round trip and gives their answers in order. No connection goes back to a pool: a request
    that is cancelled between its command and the answer would leave that to the next who gets it."""

    def __init__(
        self, client: redis.Redis, keys: Keys = ALONE, succession: Fence | None = None, *, wait_replicas: int = 0
    ) -> None:
        """`keys`: of the partition that it is for. `succession`: what greets on the client's connections.
        `wait_replicas`: how many must have what is `kept`."""
        self.keys = keys
        self.succession = succession or Fence(keys)
        self.lost = False  # to everybody: the cluster's node that has it is down
        self.evicts: str | None = None  # what is written may vanish: how that is
        self._wait_replicas = wait_replicas
        apart = Apart(client, self.succession, keys).run
        self._lane = AutoPipeline(client, self.succession, apart=apart)
        self._reads = AutoPipeline(client, self.succession)
        # Of its own: nothing else shall wait for replicas. One answer is for all that were asked in a round trip.
        wait = ("WAIT", wait_replicas, WAIT_MS)
        self._kept = AutoPipeline(client, self.succession, last=wait, apart=apart) if wait_replicas else self._lane

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Raises Unavailable when Redis does not answer or refuses, as NotApplied if nothing was done; WrongType, see
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
        """As `each`; raises Unconfirmed if not enough replicas have what was written, or say so: another master may
        lack it."""
        if not self._wait_replicas:
            return self.each(commands)
        *answers, replicas = self._run(self._kept, commands, refusals=True)
        if isinstance(replicas, NoPermissionError):
            raise Unconfirmed("Redis does not let the service WAIT for replicas; an operator must look.", retry_after=5)
        if isinstance(replicas, Exception):
            raise Unconfirmed(self.refusal(replicas).detail, retry_after=1)
        if replicas < self._wait_replicas:
            count = f"{replicas} of {self._wait_replicas}"
            raise Unconfirmed(f"Too few replicas of Redis have what was published ({count}); try again.", retry_after=1)
        return answers

    def one(self, command: Command) -> Any:
        """The answer to a single command."""
        return self.execute([command])[0]

    def send(self, command: Command) -> None:
        """What nobody need wait for, nor know of: it is done before what is asked from now on."""
        self._lane.send([command])

    def _run(self, lane: AutoPipeline, commands: Sequence[Command], *, refusals: bool = False) -> list[Any]:
        try:
            answers = lane.run(commands)
            missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if missing:
                taught = self._taught(lane, [commands[i] for i in missing])
                again = [*missing, *range(len(commands), len(answers))]
                for i, answer in zip(again, taught, strict=True):
                    answers[i] = answer
        except RedisError as error:
            _said.warn(error)
            raise self.refusal(error) from error
        refused = {str(answer): answer for answer in answers if isinstance(answer, Exception)}
        for answer in refused.values():
            _said.warn(answer)
            if not refusals:
                raise self.refusal(answer) from answer
        return answers

    def refusal(self, error: Exception) -> PushError:
        """What Redis said, in our words; the operator finds its own in the log."""
        return refusal(error, lost=self.lost)

    def _taught(self, lane: AutoPipeline, commands: Sequence[Command]) -> list[Any]:
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


LOST: Final = "The part of Redis's cluster that has this user is down; try again."
_NOTHING_DONE: Final = (NotSent, NoScriptError, BusyLoadingError, *ELSEWHERE)
# What Redis says before it runs anything, or of the account that it is asked by. Its first word decides.
_REFUSALS: Final[dict[str, Callable[[], PushError]]] = {
    "WRONGTYPE": lambda: WrongType("What Redis keeps for this is not what it should be; an operator must remove it."),
    "OOM": lambda: OutOfSpace("Redis has no memory left; try again later.", retry_after=5),
    "MISCONF": lambda: OutOfSpace("Redis cannot write to its disk; try again later.", retry_after=5),
    "NOREPLICAS": lambda: TooFewReplicas("Redis has too few replicas, and takes no writes; try again.", retry_after=1),
    "READONLY": lambda: NotApplied("Redis is a read-only replica; try again.", retry_after=1),
    "BUSY": lambda: NotApplied("Redis is busy with somebody's script; try again.", retry_after=1),
    "LOADING": lambda: NotApplied("Redis is loading its data; try again.", retry_after=1),
    "MASTERDOWN": lambda: NotApplied("Redis is a replica that has lost its master; try again.", retry_after=1),
    "CLUSTERDOWN": lambda: NotApplied("Redis's cluster is down; try again.", retry_after=1),
    "MOVED": lambda: NotApplied("Redis's cluster is moving this user's data; try again.", retry_after=1),
    "NOAUTH": lambda: NotApplied("Redis refuses the service; an operator must look at its account.", retry_after=5),
    "NOPERM": lambda: NoRights("Redis refuses the service; an operator must look at its rights.", retry_after=5),
}
# Those that have no word of their own, or that a script passes on without it.
_BY_TEXT: Final[dict[str, Callable[[], PushError]]] = {
    "cluster is down and": lambda: ReadsOnly(
        "Redis's cluster lacks a part, and takes no writes until that is back; try again.", retry_after=1
    ),
    "ACL failure in script": lambda: _REFUSALS["NOPERM"](),
    "The user executing the script": lambda: _REFUSALS["NOPERM"](),  # Redis 7.0
    "max number of clients": lambda: NotApplied(
        "Redis takes no more connections (maxclients); try again.", retry_after=1
    ),
}
# redis-py takes the first word off some of them.
_BY_CLASS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (OutOfMemoryError, "OOM"),
    (ReadOnlyError, "READONLY"),
    (BusyLoadingError, "LOADING"),
    (NoPermissionError, "NOPERM"),
    (AuthenticationError, "NOAUTH"),
    (MasterDownError, "MASTERDOWN"),
    (ClusterDownError, "CLUSTERDOWN"),
    (AskError, "MOVED"),
    (TryAgainError, "MOVED"),
)


def first_word(error: object) -> str:
    """Of what Redis said: it tells the kind of a refusal."""
    return next((word for kind, word in _BY_CLASS if isinstance(error, kind)), str(error).partition(" ")[0])


def refusal(error: Exception, *, lost: bool = False) -> PushError:
    """`lost`: it was asked of a part of a cluster that is down."""
    if isinstance(error, TooLong):
        return TooLarge(f"Redis takes values of at most {error.limit} bytes here; this one has {error.size}.")
    reason = (error.__cause__ if isinstance(error, NotSent) else None) or error  # why there is no connection
    for piece, refused in _BY_TEXT.items():
        if piece in str(reason):
            return refused()
    word = first_word(reason)
    if word in _REFUSALS and not (lost and isinstance(reason, ELSEWHERE)):
        return _REFUSALS[word]()
    away = LOST if lost else "Redis does not answer; try again."
    if isinstance(error, _NOTHING_DONE):
        return NotApplied(away, retry_after=1)
    if isinstance(error, ResponseError):
        return Unavailable("Redis refuses the service; an operator must look at its log.", retry_after=5)
    return Unavailable(away, retry_after=1)


class _Saying(NamedTuple):
    """When a line was logged last, how long it is not logged again, and how often it was not."""

    at: float
    pause: float
    unsaid: int


class _Said:
    """What Redis refuses again and again is logged at first once a second, then ever more seldom, with how often it
    was."""

    def __init__(self) -> None:
        self._last: dict[str, _Saying] = {}

    def warn(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        now = time.monotonic()
        last = self._last.get(text)
        if last is not None and now - last.at < last.pause:
            self._last[text] = last._replace(unsaid=last.unsaid + 1)
            return
        if len(self._last) >= MOST_SAID:
            self._last.clear()
        goes_on = last is not None and now - last.at < 2 * last.pause
        pause = min(2 * last.pause, LONGEST_LOG_SECONDS) if last is not None and goes_on else LOG_SECONDS
        self._last[text] = _Saying(now, pause, 0)
        unsaid = last.unsaid if last is not None else 0
        logger.warning("redis: %s%s", text, f" ({unsaid} times more)" if unsaid else "")


_said: Final = _Said()
