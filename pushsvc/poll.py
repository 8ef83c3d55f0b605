"""One epoll for many descriptors, itself watched by gevent's loop as a single one: a watcher each would cost memory and
a callback of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.monkey import get_original

logger = logging.getLogger(__name__)

_epoll: Final = get_original("select", "epoll")
_READABLE: Final = 1  # libev's EV_READ
_AT_ONCE: Final = 512  # descriptors in one look, so that a crowd does not hold the loop


class Poll:
    """Says which descriptors are ready, as long as they are."""

    def __init__(self, ready: Callable[[int, int], None]) -> None:
        """`ready` gets the descriptor and its events (select.EPOLL*); it may have been removed by an earlier call in
        the same look."""
        self._ready = ready
        self._epoll: Any = None
        self._watcher: Any = None

    def add(self, fd: int, events: int) -> None:
        """Raises OSError if the system has no more watches."""
        if self._epoll is None:  # not before the process that serves has been forked
            self._epoll = _epoll()
            self._watcher = gevent.get_hub().loop.io(self._epoll.fileno(), _READABLE)
            self._watcher.start(self._look)
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        self._epoll.modify(fd, events)

    def remove(self, fd: int) -> None:
        """Before the descriptor is closed."""
        self._epoll.unregister(fd)

    def _look(self) -> None:
        for fd, events in self._epoll.poll(0, _AT_ONCE):
            try:
                self._ready(fd, events)
            except Exception:
                logger.exception("a descriptor that was ready could not be served")
