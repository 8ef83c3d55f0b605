"""One of several models' servers: whether it is asked now, and who waits for it."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import Final, Protocol

from pushsvc import metrics
from pushsvc.llm.models.base import Model

logger = logging.getLogger(__name__)

FAILURES: Final = 3  # one after the other, after which a server is left alone
FIRST_PAUSE: Final = 2.0  # seconds, doubled up to
LONGEST_PAUSE: Final = 60.0


class Waiting(Protocol):
    """A question that waits for a server."""

    user: str

    def run(self, place: Place) -> None:
        """Ask the server."""

    def choose_again(self) -> None:
        """Look for a server anew: the one it waits for is to be left alone."""

    def told(self, number: int) -> None:
        """Take note how many questions are before it, itself included."""


class Place:
    """A models' server. Its circuit opens after failures in a row: then nothing is asked of it for a while, then one
    question, whose success closes it."""

    def __init__(
        self, name: str, model: Model, models: Sequence[str], weight: int, at_a_time: int | None, queue: int
    ) -> None:
        self.name = name
        self.model = model
        self.models = models
        self.weight = weight
        self._at_a_time = at_a_time
        self._most_waiting = queue
        self._running = 0
        self._probe: Waiting | None = None  # the one question that tries it while its circuit is open
        self._failures = 0
        self._pause = FIRST_PAUSE
        self.rests_until = 0.0  # monotonic time
        self._waiting: OrderedDict[str, deque[Waiting]] = OrderedDict()  # users take turns

    def takes(self, model: str) -> bool:
        """Whether it has the model."""
        return any(fnmatchcase(model, each) for each in self.models)

    @property
    def is_open(self) -> bool:
        """Whether its circuit is open."""
        return self._failures >= FAILURES

    def rests(self, now: float) -> bool:
        """Whether it is to be left alone."""
        return now < self.rests_until

    @property
    def is_full(self) -> bool:
        """Whether it makes as many answers as it may, which is one while its circuit is open."""
        return self._probe is not None or (self._at_a_time is not None and self._running >= self._at_a_time)

    def begin(self, asked: Waiting) -> None:
        """Count an answer in."""
        self._running += 1
        if self.is_open:
            self._probe = asked

    def end(self, asked: Waiting) -> None:
        """Count an answer out, and ask who waits."""
        self._running -= 1
        if self._probe is asked:
            self._probe = None
        self._go_on()

    def _go_on(self) -> None:
        """Run as many of those who wait as it may. If it is to be left alone, all of them choose again."""
        while self._waiting:
            if self.rests(time.monotonic()):
                self._take_turn().choose_again()
            elif not self.is_full:
                self._take_turn().run(self)
            else:
                break
        self._tell()

    def _take_turn(self) -> Waiting:
        user, turn = next(iter(self._waiting.items()))
        asked = turn.popleft()
        self._waiting.move_to_end(user)
        if not turn:
            del self._waiting[user]
        metrics.UPSTREAM_WAITING.labels(self.name).dec()
        return asked

    def wait(self, asked: Waiting) -> bool:
        """Have a question wait. False: too many do."""
        if self.waiting >= self._most_waiting:
            return False
        self._waiting.setdefault(asked.user, deque()).append(asked)
        metrics.UPSTREAM_WAITING.labels(self.name).inc()
        self._tell()
        return True

    @property
    def waiting(self) -> int:
        """The number of questions that wait."""
        return sum(map(len, self._waiting.values()))

    def forget(self, asked: Waiting) -> None:
        """Have a question wait no more. Harmless when repeated."""
        turn = self._waiting.get(asked.user)
        if turn is not None and asked in turn:
            turn.remove(asked)
            if not turn:
                del self._waiting[asked.user]
            metrics.UPSTREAM_WAITING.labels(self.name).dec()
            self._tell()

    def _tell(self) -> None:
        """Tell each how many are before it, if all take turns and nobody else comes."""
        rounds = zip_longest(*map(tuple, self._waiting.values()))
        order = [asked for each in rounds for asked in each if asked is not None]
        for number, asked in enumerate(order, 1):
            asked.told(number)

    def succeeded(self) -> None:
        """Note a first token."""
        if self.is_open:
            logger.warning("the model's server %s answers again", self.name)
            metrics.UPSTREAM_OPEN.labels(self.name).set(0)
        self._failures, self._pause = 0, FIRST_PAUSE
        metrics.UPSTREAM_CALLS.labels(self.name, "answered").inc()
        if self._probe is not None:
            self._probe = None
            self._go_on()

    def refused(self) -> None:
        """Note a refusal for which the question is the cause, which says nothing of other questions."""
        metrics.UPSTREAM_CALLS.labels(self.name, "refused").inc()

    def failed(self, retry_after: float | None = None) -> None:
        """Note a failure before the first token. `retry_after`: seconds for which it wants to be left alone."""
        metrics.UPSTREAM_CALLS.labels(self.name, "failed").inc()
        now = time.monotonic()
        if retry_after is not None:
            self.rests_until = max(self.rests_until, now + min(retry_after, LONGEST_PAUSE))
            return
        self._failures += 1
        if self.is_open:
            if self._failures == FAILURES:
                logger.warning(
                    "the model's server %s is left alone for a while: it failed %d times", self.name, FAILURES
                )
                metrics.UPSTREAM_OPEN.labels(self.name).set(1)
            self.rests_until = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
