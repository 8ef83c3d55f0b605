"""Counts against rates in Redis, over all workers and hosts."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from pushsvc.errors import PushError, TooLarge, TooManyRequests
from pushsvc.settings.rate import Rate
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.scripts import Command, Script

logger = logging.getLogger(__name__)

_RATE: Final = Script("counts/rate", after="counts/counting")


class Rates:
    """Keeps one setting's rates, for each subject apart: a user, or a token. While Redis takes no counts, everything
    passes, and the log says so once."""

    def __init__(self, store: RedisClient, setting: str, rates: Sequence[Rate]) -> None:
        """`setting`: the name of the setting, in upper case and without its prefix."""
        self._store = store
        self._setting = setting
        self._rates = rates
        self.numbers = [number for rate in rates for number in (rate.amount, rate.seconds * 1000)]
        self._most = min((rate.amount for rate in rates), default=0)
        self._kept = True

    @contextlib.contextmanager
    def counting(self, subject: str, count: int = 1) -> Iterator[Callable[[], None]]:
        """Count for a subject at once, and give the function that waits for Redis; it raises TooManyRequests if a rate
        is met, and nothing was counted then. What fails inside was refused for another reason, and counts for nothing
        either. Raises TooLarge if so many can never pass."""
        settle = self._begin(subject, count)
        try:
            yield settle
        except TooManyRequests:
            raise
        except Exception:
            with contextlib.suppress(TooManyRequests):
                settle()
                self._give_back(subject, count)
            raise

    def share(self, subject: str, count: int) -> Share | None:
        """The subject's share, to count so many along with what they are. None: there is nothing to count. Raises
        TooLarge if so many can never pass."""
        if not self._rates or not count:
            return None
        if count > self._most:
            raise TooLarge(f"PUSHSVC_{self._setting} allows {self._most} at once; this makes {count}.")
        return Share(self, subject)

    def _begin(self, subject: str, count: int) -> Callable[[], None]:
        if self.share(subject, count) is None:
            return _passed
        wait = self._store.begin(self.command(subject, count))

        settled = False

        def settle() -> None:
            nonlocal settled
            if settled:
                return
            settled = True
            try:
                met, wait_ms = wait()
            except PushError as error:
                self.note(error.detail)
                return
            self.note(None)
            if met:
                raise self.refusal(met, wait_ms)

        return settle

    def _give_back(self, subject: str, count: int) -> None:
        if self._rates and self._kept and count:
            self._store.send(self.command(subject, -count))

    def command(self, subject: str, count: int) -> Command:
        """The command that counts for a subject, whatever its answer means to others."""
        return _RATE.call([self.key(self._store.keys, subject)], count, *self.numbers)

    def key(self, keys: Keys, subject: str) -> str:
        """The key at which a partition has the counts of a subject."""
        return keys.rate(self._setting.lower(), subject)

    def refusal(self, met: int, wait_ms: int) -> TooManyRequests:
        """The refusal because of a rate that is met: its number, from 1, as counting.lua gives it."""
        seconds = max(1, math.ceil(wait_ms / 1000))
        return TooManyRequests(
            f"PUSHSVC_{self._setting} allows {self._rates[met - 1].words}; try again in {seconds} s.",
            retry_after=seconds,
        )

    def note(self, lapse: str | None) -> None:
        """Note why Redis takes no counts; None: it does."""
        if self._kept and lapse is not None:
            logger.warning("PUSHSVC_%s is not kept until Redis counts again: %s", self._setting, lapse)
        self._kept = lapse is None


class Share(NamedTuple):
    """The share of rates that a subject may take."""

    rates: Rates
    subject: str


class Along(NamedTuple):
    """The rates that an append counts for, along with the event. `events`: the publisher's rates; `topics`: those of
    topics that did not exist."""

    events: Share | None = None
    topics: Share | None = None


def _passed() -> None:
    pass
