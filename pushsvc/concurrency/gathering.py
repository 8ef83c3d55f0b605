"""Looks less often at descriptors of which always some are ready: what comes within a fraction of a millisecond is
read together, and goes on together. Each turn of the event loop, and each round trip to Redis that follows, has a price
of its own, which is then paid once for several pieces. Where little comes, each piece is read at once."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import time
from typing import Any, Final

import gevent

from pushsvc.concurrency.poll import READABLE, EpollPoll, GeventPoll, MakePoll, Ready

logger = logging.getLogger(__name__)

GATHER_SECONDS: Final = 0.00075  # between two looks while much comes
WORTH: Final = 2.0  # pieces that come in that time, at least, while much comes
COUNT_SECONDS: Final = 0.05  # over which arrivals are counted
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # timerfd_create(2) has the same


class _Interval(ctypes.Structure):
    """`struct itimerspec` of timerfd_settime(2): the interval and the first time, each in s and ns."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("s", "ns", "first_s", "first_ns"))


class Ticks:
    """A descriptor that is readable after each `seconds` while it is started. libev's own timers count in whole
    milliseconds. Raises OSError if the system has none (timerfd is Linux's)."""

    def __init__(self, seconds: float) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "timerfd_create"):
            raise OSError("the system has no timerfd")
        self.fd = libc.timerfd_create(time.CLOCK_MONOTONIC, _FLAGS)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._set = libc.timerfd_settime
        self._ns = int(seconds * 1e9)

    def start(self) -> None:
        """Tick from now on."""
        self._tick(self._ns)

    def stop(self) -> None:
        """Tick no more."""
        self._tick(0)

    def _tick(self, ns: int) -> None:
        every = _Interval(0, ns, 0, ns)
        self._set(self.fd, 0, ctypes.byref(every), None)

    def take(self) -> None:
        """Take note of the ticks so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)


class Arrivals:
    """Counts what comes, and tells whether so much comes that it is worth gathering. `now`: monotonic time."""

    def __init__(self) -> None:
        self.many = False
        self._since = 0.0
        self._count = 0

    def add(self, count: int, now: float) -> bool:
        """Count; True: `many` has changed."""
        self._count += count
        passed = now - self._since
        if passed < COUNT_SECONDS:
            return False
        before, self.many = self.many, self._count * GATHER_SECONDS >= WORTH * passed
        self._since, self._count = now, 0
        return before is not self.many


class GatheringPoll(EpollPoll):
    """An EpollPoll that gathers while much comes."""

    def __init__(self, ready: Ready) -> None:
        super().__init__(ready)
        self._arrivals = Arrivals()
        self._ticks: Ticks | None = None
        self._ticking: Any = None  # the watcher of the ticks

    def _look(self) -> int:
        count = super()._look()
        if self._arrivals.add(count, time.monotonic()):
            self._switch()
        return count

    def _switch(self) -> None:
        if self._arrivals.many and self._begin_ticks():
            self._watcher.stop()
        elif self._ticks is not None:
            self._ticks.stop()
            self._ticking.stop()
            self._watcher.start(self._look)

    def _begin_ticks(self) -> bool:
        try:
            self._ticks = self._ticks or Ticks(GATHER_SECONDS)
        except OSError as error:
            logger.info("what models send is read as it comes: %s", error)
            return False
        self._ticks.start()
        self._ticking = self._ticking or gevent.get_hub().loop.io(self._ticks.fd, READABLE)
        self._ticking.start(self._tick)
        return True

    def _tick(self) -> None:
        assert self._ticks is not None
        self._ticks.take()
        self._look()


GATHERING: Final[dict[str, MakePoll]] = {"epoll": GatheringPoll, "gevent": GeventPoll}  # by PUSHSVC_POLLER
