"""Watches many descriptors at once, in one of two ways. PUSHSVC_POLLER selects the way."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

import gevent
from gevent.monkey import get_original

logger = logging.getLogger(__name__)

READABLE: Final = 1  # libev's EV_READ
_WRITABLE: Final = 2  # libev's EV_WRITE
_AT_ONCE: Final = 512  # descriptors per poll, so that many at once do not block the loop
# epoll_ctl(2). `select` has these names only where the system has epoll.
_SAYS: Final = 0x001 | 0x2000  # EPOLLIN, EPOLLRDHUP; the kernel always reports EPOLLERR and EPOLLHUP
_ROOM: Final = 0x004  # EPOLLOUT

Ready = Callable[[int, bool], None]
"""Called with the descriptor, and True if it is only writable; False: it is readable, or the peer has closed it. An
earlier call of the same poll may have removed the descriptor."""


class Poll(Protocol):
    """Reports descriptors for as long as they are ready (level-triggered)."""

    def add(self, fd: int) -> None:
        """Report when the descriptor is readable or its peer has closed it. Raises OSError if the system has no more
        watches."""

    def await_room(self, fd: int, wanted: bool) -> None:
        """Report also when the descriptor is writable; `wanted` False: stop doing so."""

    def listen(self, fd: int, wanted: bool) -> None:
        """Stop reporting that the descriptor is readable, or that its peer has closed it; `wanted`: start again."""

    def remove(self, fd: int) -> None:
        """Stop watching, before the descriptor is closed. Harmless when repeated."""


class EpollPoll:
    """One epoll for all descriptors. gevent's loop watches only that: a watcher for each descriptor would cost memory
    and a callback."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._epoll: Any = None
        self._watcher: Any = None
        self._full: set[int] = set()  # descriptors that await room
        self._unheard: set[int] = set()

    def add(self, fd: int) -> None:
        """See `Poll.add`."""
        if self._epoll is None:  # made after the worker has been forked
            self._epoll = get_original("select", "epoll")()
            self._watcher = gevent.get_hub().loop.io(self._epoll.fileno(), READABLE)
            self._watcher.start(self._look)
        self._epoll.register(fd, _SAYS)

    def await_room(self, fd: int, wanted: bool) -> None:
        """See `Poll.await_room`."""
        (self._full.add if wanted else self._full.discard)(fd)
        self._modify(fd)

    def listen(self, fd: int, wanted: bool) -> None:
        """See `Poll.listen`."""
        (self._unheard.discard if wanted else self._unheard.add)(fd)
        self._modify(fd)

    def _modify(self, fd: int) -> None:
        says, room = 0 if fd in self._unheard else _SAYS, _ROOM if fd in self._full else 0
        self._epoll.modify(fd, says | room)

    def remove(self, fd: int) -> None:
        """See `Poll.remove`."""
        self._full.discard(fd)
        self._unheard.discard(fd)
        if self._epoll is not None:
            with contextlib.suppress(OSError):  # it was removed already, or never added
                self._epoll.unregister(fd)

    def _look(self) -> int:
        found = self._epoll.poll(0, _AT_ONCE)
        for fd, events in found:
            try:
                self._ready(fd, events == _ROOM)
            except Exception:
                logger.exception("a descriptor that was ready could not be served")
        return len(found)


class GeventPoll:
    """One of gevent's watchers for each descriptor: for systems without epoll, such as macOS."""

    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self._says: dict[int, Any] = {}
        self._room: dict[int, Any] = {}

    def add(self, fd: int) -> None:
        """See `Poll.add`."""
        self._says[fd] = self._watch(fd, READABLE, False)

    def await_room(self, fd: int, wanted: bool) -> None:
        """See `Poll.await_room`."""
        if wanted and fd not in self._room:
            self._room[fd] = self._watch(fd, _WRITABLE, True)
        elif not wanted:
            _close(self._room.pop(fd, None))

    def listen(self, fd: int, wanted: bool) -> None:
        """See `Poll.listen`."""
        watcher = self._says[fd]
        if wanted:
            watcher.start(self._tell, fd, False)
        else:
            watcher.stop()

    def remove(self, fd: int) -> None:
        """See `Poll.remove`."""
        _close(self._says.pop(fd, None))
        _close(self._room.pop(fd, None))

    def _watch(self, fd: int, events: int, room: bool) -> Any:
        watcher = gevent.get_hub().loop.io(fd, events)
        watcher.start(self._tell, fd, room)
        return watcher

    def _tell(self, fd: int, room: bool) -> None:
        try:
            self._ready(fd, room)
        except Exception:
            logger.exception("a descriptor that was ready could not be served")


def _close(watcher: Any) -> None:
    if watcher is not None:
        watcher.stop()
        watcher.close()


MakePoll = Callable[[Ready], Poll]
POLLS: Final[dict[str, MakePoll]] = {"epoll": EpollPoll, "gevent": GeventPoll}  # by PUSHSVC_POLLER
