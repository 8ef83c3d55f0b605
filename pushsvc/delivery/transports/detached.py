"""Connections without a greenlet: a descriptor each, written to directly, and one poll that watches them all."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Final

import gevent.event
from gevent.monkey import get_original

from pushsvc.concurrency.poll import MakePoll
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.queued import MOST_SAID_BYTES, SAID_BYTES
from pushsvc.events.encoded import LAST_CHUNK, EncodedBatch

_Socket: Final = get_original("socket", "socket")
_ABORT: Final = struct.pack("ii", 1, 0)  # struct linger: closing discards what was not sent, and resets


class Sockets:
    """Every detached socket of the worker."""

    def __init__(
        self,
        buffer_bytes: int,
        poll: MakePoll,
        left: Callable[[Subscriber], None],
        flushed: Callable[[Subscriber], None],
    ) -> None:
        """`left` is called when a client hung up, or says too much; `flushed` when what waited for it is out."""
        self.buffer_bytes = buffer_bytes
        self._left = left
        self._flushed = flushed
        self._subscribers: dict[int, Subscriber] = {}
        self._said: dict[int, int] = {}  # bytes, of those who said anything
        self._poll = poll(self._look)

    def __len__(self) -> int:
        return len(self._subscribers)

    def find(self, fd: int) -> Subscriber | None:
        return self._subscribers.get(fd)

    def add(self, fd: int, subscriber: Subscriber) -> None:
        self._subscribers[fd] = subscriber
        self._poll.add(fd)

    def await_room(self, fd: int, wanted: bool) -> None:
        self._poll.await_room(fd, wanted)

    def remove(self, fd: int) -> None:
        """Before the descriptor is closed. Harmless when repeated."""
        self._poll.remove(fd)
        self._said.pop(fd, None)
        self._subscribers.pop(fd, None)

    def _look(self, fd: int, room: bool) -> None:
        subscriber = self._subscribers.get(fd)
        if subscriber is None:
            return  # closed by one that was looked at before it
        if not room and not self._discard(fd):
            self._left(subscriber)
        elif room and isinstance(subscriber.outlet, DetachedSocket) and subscriber.outlet.flush():
            self._flushed(subscriber)

    def _discard(self, fd: int) -> bool:
        """What a client says that should only listen. False: no more will come, or may."""
        try:
            size = len(os.read(fd, SAID_BYTES))
        except BlockingIOError:
            return True
        except OSError:
            return False
        said = self._said[fd] = self._said.get(fd, 0) + size
        return size > 0 and said <= MOST_SAID_BYTES


def write_all(fds: Sequence[int], wire: bytes) -> list[int]:
    """Write the same to each; how much of it each took. One that is broken counts as having taken all: the poll is
    about to say what became of it.

    The loop itself runs in C, as the interpreter would cost as much again as all of Python's part in a write.
    """
    sent: list[int] = []
    while len(sent) < len(fds):
        try:
            sent.extend(map(os.write, fds[len(sent) :], repeat(wire)))  # keeps what it has when a write raises
        except BlockingIOError:
            sent.append(0)
        except OSError:
            sent.append(len(wire))
    return sent


class _Backlog:
    """What the kernel did not take yet."""

    __slots__ = ("data", "emptied", "ending_since")

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.emptied: gevent.event.Event | None = None  # somebody waits for that
        self.ending_since: float | None = None  # monotonic time; no more will come


class DetachedSocket:
    """Writes to the descriptor at once. What the kernel does not take waits here, up to a bound."""

    __slots__ = ("_backlog", "_sockets", "chunked", "fd")

    detached = True

    def __init__(self, fd: int, sockets: Sockets, *, chunked: bool) -> None:
        """`chunked`: the response's framing; a client of HTTP/1.0 gets the bytes as they are."""
        self.fd = fd
        self._sockets = sockets
        self.chunked = chunked
        self._backlog: _Backlog | None = None

    @property
    def clear(self) -> bool:
        return self._backlog is None

    def send(self, burst: EncodedBatch) -> bool:
        wire = burst.chunk if self.chunked else burst.wire
        if self._backlog is not None and len(self._backlog.data) + len(wire) > self._sockets.buffer_bytes:
            return False
        self._write(wire)
        return True

    def _write(self, wire: bytes) -> None:
        if self._backlog is not None:
            self._backlog.data += wire
            return
        try:
            sent = os.write(self.fd, wire)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the connection is broken, and the poll is about to say so
        if sent != len(wire):
            self.keep(wire[sent:])

    def keep(self, rest: bytes) -> None:
        """What the kernel had no room for."""
        if self._backlog is not None:
            self._backlog.data += rest
            return
        self._backlog = _Backlog(rest)
        self._sockets.await_room(self.fd, True)

    def flush(self) -> bool:
        """Write on what waits. True once it is all out."""
        backlog = self._backlog
        if backlog is None:  # an error came in between
            self._sockets.await_room(self.fd, False)
            return False
        try:
            del backlog.data[: os.write(self.fd, backlog.data)]
        except OSError:  # no room after all, or broken, as above
            return False
        if backlog.data:
            return False
        self._forget_backlog()
        self._sockets.await_room(self.fd, False)
        return True

    def _forget_backlog(self) -> None:
        backlog, self._backlog = self._backlog, None
        if backlog is not None and backlog.emptied is not None:
            backlog.emptied.set()

    def drain(self, patience: float) -> bool:
        """Wait until nothing waits here any more. False if the client does not read for so many seconds, or is cut."""
        backlog = self._backlog
        if backlog is not None:
            backlog.emptied = gevent.event.Event()
            if not backlog.emptied.wait(patience):
                return False
        return self.fd >= 0

    def wake(self) -> None:
        """Nobody sleeps on it."""

    def end(self, farewell: bytes, *, whole: bool) -> bool:
        if self.chunked:
            farewell = EncodedBatch(farewell).chunk + (LAST_CHUNK if whole else b"")
        self._write(farewell)
        if self._backlog is not None:
            self._backlog.ending_since = time.monotonic()
        return self._backlog is None

    def cut(self) -> None:
        """Once no channel has the descriptor any more."""
        if self.fd >= 0:
            self._sockets.remove(self.fd)
            client, self.fd = _Socket(fileno=self.fd), -1  # in one step: a number is never closed twice
            with client:
                if self._backlog is not None:  # else the kernel would go on offering it to one who does not read
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                else:  # what is left unread would have the client reset, and what was sent unheard
                    with contextlib.suppress(OSError):
                        client.recv(SAID_BYTES, socket.MSG_DONTWAIT)
        self._forget_backlog()

    def give_back(self) -> None:
        """The descriptor is the server's, which closes it."""
        self._sockets.remove(self.fd)
        self.fd = -1

    def stuck(self, now: float, behind: bool, patience: float) -> bool:  # noqa: ARG002
        backlog = self._backlog
        return backlog is not None and backlog.ending_since is not None and now - backlog.ending_since > patience
