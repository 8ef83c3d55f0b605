"""Tells whether this worker should get traffic, and what else is wrong. A worker is not ready if other workers may be
able to serve what it cannot, or if it reaches no Redis at all. A problem that all workers share does not make it
unready; it is reported, and logged once when it begins and once when it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import gevent
import redis

from pushsvc.concurrency.loops import Loop
from pushsvc.storage.redis.topology.coverage import Trouble

logger = logging.getLogger(__name__)

GLANCE_SECONDS: Final = 0.25  # between two looks at this worker's own partitions
ASK_SECONDS: Final = 1.0  # between two rounds of questions to a cluster's nodes
UNDECIDED_SECONDS: Final = 4.0  # time to find out whether other workers have the same problem
RETURN_SECONDS: Final = 5.0  # time in which a partition that was lost must be served here again once it is back


class Kept(Protocol):
    """The members of a partition that Health uses. `lost`: the node that has the partition is down for all workers."""

    lost: bool

    def unready(self) -> str | None:
        """Say why the partition is not served here. None: it is."""

    def problems(self) -> Mapping[str, str]:
        """Say what is wrong though the partition is served: sentences by a word for the kind."""


class Surveyor(Protocol):
    """Finds out which nodes of a cluster are down, see Coverage."""

    def look(self, partitions: Iterable[int]) -> dict[int, Trouble]:
        """Say what is wrong with these partitions, by their numbers. Partitions whose node answers are left out."""


class _Watched:
    """The state of one partition as last seen. Times are monotonic."""

    def __init__(self, *, served: bool = False) -> None:
        self.served = served  # it was served here at least once
        self.asked = False  # the cluster was asked about it since it is no longer served
        self.since = 0.0  # time since which it is not served; 0: it is served
        self.lost_at = float("-inf")  # time when it was last seen to be lost to all workers
        self.trouble: Trouble | None = None

    @property
    def excused(self) -> bool:
        """Whether all workers have the same problem, or that is not known yet."""
        now = time.monotonic()
        if self.trouble is not None and not self.trouble.lost:
            return False
        undecided = self.served and not self.asked and now - self.since < UNDECIDED_SECONDS
        return undecided or now - self.lost_at < RETURN_SECONDS


class Health:
    """Watches the health of all partitions of this worker."""

    def __init__(self, partitions: Sequence[Kept], coverage: Surveyor | None) -> None:
        """`coverage`: of the cluster; None: Redis is no cluster."""
        self._partitions = partitions
        self._coverage = coverage
        self._watched = [_Watched() for _ in partitions]
        self._said: dict[str, str] = {}
        self._asked_at = float("-inf")
        self.loop = Loop("health", self._run, expected=(redis.RedisError, OSError))

    def unready(self) -> str | None:
        """Say why this worker should get no traffic. None: it should."""
        reasons = self._reasons()
        if len(reasons) == len(self._partitions):  # nothing is served
            return next(iter(reasons.values()))
        for number, reason in reasons.items():
            watched = self._watched[number]
            if not watched.excused:
                return reason if watched.trouble is None else watched.trouble.text
        return None

    def problems(self) -> list[str]:
        """List the problems as sentences, worst first."""
        return [" ".join(filter(None, words)) for words in self._problems().values()]

    def _reasons(self) -> dict[int, str]:
        """Collect the reasons why partitions are not served, by their numbers. What was known about the trouble of a
        partition that is served again is dropped."""
        found = {}
        for number, (partition, watched) in enumerate(zip(self._partitions, self._watched, strict=True)):
            reason = partition.unready()
            if reason is not None:
                found[number] = reason
                watched.since = watched.since or time.monotonic()
            elif watched.since or not watched.served:
                self._watched[number] = _Watched(served=True)
        return found

    def _problems(self) -> dict[str, tuple[str, str]]:
        """Group the problems by their kind: a sentence, and in how many partitions it holds (empty: in all)."""
        reasons = self._reasons()
        lost = [self._watched[number].trouble for number in reasons]
        found = {each.about: (each.text, "") for each in lost if each is not None and each.lost}
        of: dict[str, list[str]] = {}
        for number, partition in enumerate(self._partitions):
            for kind, text in {} if number in reasons else partition.problems().items():
                of.setdefault(kind, []).append(text)
        served = len(self._partitions) - len(reasons)
        for kind, texts in of.items():
            where = "" if len(texts) == served else f"(In {len(texts)} of {len(self._partitions)} partitions.)"
            found[kind] = texts[0], where
        return found

    def _run(self, loop: Loop) -> None:
        while True:
            loop.report_healthy()
            self._look(self._reasons())
            self._say()
            gevent.sleep(GLANCE_SECONDS)

    def _look(self, reasons: Mapping[int, str]) -> None:
        if self._coverage is not None and reasons and time.monotonic() - self._asked_at >= ASK_SECONDS:
            self._ask(self._coverage, {number: self._watched[number] for number in reasons})
        for partition, watched in zip(self._partitions, self._watched, strict=True):
            partition.lost = watched.trouble is not None and watched.trouble.lost

    def _ask(self, coverage: Surveyor, unserved: Mapping[int, _Watched]) -> None:
        found = coverage.look(unserved)
        now = self._asked_at = time.monotonic()
        for number, watched in unserved.items():
            trouble = found.get(number)
            watched.asked = True
            if trouble is None and now - watched.lost_at < RETURN_SECONDS:
                continue  # the node is back, and the partition is being connected again
            watched.trouble = trouble
            if trouble is not None and trouble.lost:
                watched.lost_at = now

    def _say(self) -> None:
        now = dict(self._facts())
        for what in now.keys() - self._said.keys():
            logger.warning("%s", now[what])
        for what in self._said.keys() - now.keys():
            logger.warning("No more: %s", self._said[what])
        self._said = {what: self._said.get(what, text) for what, text in now.items()}

    def _facts(self) -> Iterator[tuple[str, str]]:
        for what, (text, _) in self._problems().items():
            yield what, text
        reason = self.unready()
        if reason is not None and any(self._watched[number].served for number in self._reasons()):
            yield "unready", f"Not ready: {reason}"
