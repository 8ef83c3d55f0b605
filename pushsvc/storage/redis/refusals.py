"""Maps refusals of Redis to errors for the service's clients, and logs them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, NamedTuple

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
    ResponseError,
    TryAgainError,
)

from pushsvc.errors import (
    NoRights,
    NotApplied,
    OutOfSpace,
    PushError,
    ReadsOnly,
    TooFewReplicas,
    TooLarge,
    Unavailable,
    WrongType,
)
from pushsvc.storage.redis.largest import TooLong
from pushsvc.storage.redis.pipeline import NotSent
from pushsvc.storage.redis.topology.demoted import ELSEWHERE

logger = logging.getLogger(__name__)

LOG_SECONDS: Final = 1.0  # between two equal log lines, doubled while they recur, up to
LONGEST_LOG_SECONDS: Final = 60.0
MOST_SAID: Final = 1000  # most log lines that are remembered

LOST: Final = "The part of Redis's cluster that has this user is down; try again."
_NOTHING_DONE: Final = (NotSent, NoScriptError, BusyLoadingError, *ELSEWHERE)
# Refusals before a command runs, or for lack of rights. The first word decides.
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
# Refusals without a first word, or from a script that drops it.
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
# redis-py removes the first word of some of them.
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
    """The first word of Redis's error, which is the kind of refusal."""
    return next((word for kind, word in _BY_CLASS if isinstance(error, kind)), str(error).partition(" ")[0])


def refusal(error: Exception, *, lost: bool = False) -> PushError:
    """The error for clients for one of redis-py's. `lost`: the request needs a part of the cluster that is down."""
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
    """A logged line: when it was logged last, for how long it is suppressed, and how often it was."""

    at: float
    pause: float
    unsaid: int


class RefusalLog:
    """Logs refusals: equal ones at first once a second, then less and less often, with their count."""

    def __init__(self) -> None:
        self._last: dict[str, _Saying] = {}

    def warn(self, error: Exception) -> None:
        """Log the refusal, unless the same one was logged a moment ago."""
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


REFUSAL_LOG: Final = RefusalLog()
