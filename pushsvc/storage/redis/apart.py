"""Runs commands with large values, each on a connection of its own: if Redis refuses such a
value, it closes the connection, and all commands on it fail."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.exceptions import RedisError

from pushsvc.storage.redis.fencing import Fence
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.largest import LARGE, Largest, TooLong, longest
from pushsvc.storage.redis.pipeline import AutoPipeline, NotSent
from pushsvc.storage.redis.scripts import Command

AT_ONCE: Final = 4  # such connections at a time: an account may have few
TURN_SECONDS: Final = 3.0  # how long a large command may wait for others


class Apart:
    """Stands in for a pipeline's `run` where a value is large."""

    def __init__(self, client: redis.Redis, fence: Fence, keys: Keys) -> None:
        self._trials = AutoPipeline(client, fence)  # for connections for trials
        self._keys = keys
        self._largest = Largest()
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def run(self, pipeline: AutoPipeline, commands: Sequence[Command]) -> list[Any]:
        """Run commands in order as `AutoPipeline.run` does, in several round trips. After a failure no more
        are sent: a later event must not be stored before an earlier one."""
        groups = [
            (group, large)
            for large, some in itertools.groupby(commands, key=lambda command: longest(command) > LARGE)
            for group in ([[each] for each in some] if large else [list(some)])
        ]
        answers, extra = list[Any](), list[Any]()
        for number, (group, large) in enumerate(groups):
            try:
                found = self._alone(pipeline, group[0]) if large else pipeline.run(group)
            except TooLong as error:
                answers.append(error)
                continue
            except RedisError as error:
                if not answers:
                    raise
                answers += [error] * len(group)
                answers += [NotSent("what came before it failed")] * sum(len(each) for each, _ in groups[number + 1 :])
                break
            answers += found[: len(group)]
            extra += found[len(group) :]
        return answers + _worst(extra, pipeline.extra)

    def _alone(self, pipeline: AutoPipeline, command: Command) -> list[Any]:
        """Run one command. Raises TooLong, or as `AutoPipeline.run` does."""
        size = longest(command)
        self._largest.check(size)
        with self._turn():
            self._largest.check(size)  # an earlier command may have found the limit
            try:
                found = pipeline.once([command])
            except NotSent:
                raise
            except RedisError:
                self._largest.judge(size, self._takes)
                raise
            if _is_refused(found[0]):
                self._largest.judge(size, self._takes)
            return found

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until fewer than AT_ONCE large commands run. Raises NotSent if that takes too long, for example
        because Redis hangs."""
        if not self._turns.acquire(timeout=TURN_SECONDS):
            raise NotSent("too many large values wait for Redis")
        try:
            yield
        finally:
            self._turns.release()

    def _takes(self, size: int) -> bool | None:
        """Try a value of this size in a command without effect; see `Largest.judge`."""
        try:
            answer = self._trials.once([("EXISTS", self._keys.worker("x").ljust(size, "x"))])[0]
        except NotSent:
            return None
        except RedisError:
            return False
        return not _is_refused(answer)


def _is_refused(answer: Any) -> bool:
    """Whether Redis answered with its error for a value that is too large, before it closed the connection."""
    return isinstance(answer, Exception) and "Protocol error" in str(answer)


def _worst(replicas: Sequence[Any], count: int) -> list[Any]:
    """Combine the answers to the last command of each round trip, if there is one: an error, or the least number of
    replicas."""
    if not replicas:
        return [math.inf] * count  # nothing was written, so no replica lacks anything
    failed = [each for each in replicas if isinstance(each, Exception)]
    return failed[:1] or [min(replicas)]
