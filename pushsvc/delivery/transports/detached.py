"""Connections without a greenlet: a descriptor each, written to directly, and one poll that watches them all."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Final, Protocol

import gevent.event
from gevent.monkey import get_original

from pushsvc.concurrency.poll import MakePoll
from pushsvc.delivery.transports.queued import MOST_SAID_BYTES, SAID_BYTES
from pushsvc.events.encoded import LAST_CHUNK, EncodedBatch

if TYPE_CHECKING:  # whose socket it is, a transport only hands back
    from pushsvc.delivery.subscriber import Subscriber

_Socket: Final = get_original("socket", "socket")
_ABORT: Final = struct.pack("ii", 1, 0)  # struct linger: closing discards what was not sent, and resets


class SocketOwner(Protocol):
    """The part that Sockets report to."""

    def on_hang_up(self, subscriber: Subscriber) -> None:
        """The client hung up, or says too much."""

    def on_flushed(self, subscriber: Subscriber) -> None:
        """The bytes that waited for the client are out."""


class Sockets:
    """Every detached socket of the worker."""

    def __init__(self, buffer_bytes: int, poll: MakePoll, owner: SocketOwner) -> None:
        """`buffer_bytes`: how much may wait for one client."""
        self.buffer_bytes = buffer_bytes
        self._owner = owner
        self._sockets: dict[int, DetachedSocket] = {}
        self._said: dict[int, int] = {}  # bytes, of those who said anything
        self._poll = poll(self._look)

    def __len__(self) -> int:
        return len(self._sockets)

    def owner(self, fd: int) -> Subscriber | None:
        """The subscriber whose socket this is."""
        found = self._sockets.get(fd)
        return None if found is None else found.subscriber

    def add(self, socket: DetachedSocket) -> None:
        """Watch a socket."""
        self._sockets[socket.fd] = socket
        self._poll.add(socket.fd)

    def await_room(self, fd: int, wanted: bool) -> None:
        """Watch for room in the kernel's buffer, or no longer."""
        self._poll.await_room(fd, wanted)

    def remove(self, fd: int) -> None:
        """Watch no longer; to be called before the descriptor is closed. Harmless when repeated."""
        self._poll.remove(fd)
        self._said.pop(fd, None)
        found = self._sockets.pop(fd, None)
        if found is not None:
            del found.subscriber  # which holds its transport: a circle of references would wait for the collector

    def _look(self, fd: int, room: bool) -> None:
        found = self._sockets.get(fd)
        if found is None:
            return  # closed by one that was looked at before it
        if not room and not self._discard(fd):
            self._owner.on_hang_up(found.subscriber)
        elif room and found.flush():
            self._owner.on_flushed(found.subscriber)

    def _discard(self, fd: int) -> bool:
        """Drop what a client says that should only listen. False: no more will come, or may."""
        try:
            size = len(os.read(fd, SAID_BYTES))
        except BlockingIOError:
            return True
        except OSError:
            return False
        said = self._said[fd] = self._said.get(fd, 0) + size
        return size > 0 and said <= MOST_SAID_BYTES


def write_all(fds: Sequence[int], wire: bytes) -> list[int]:
    """Write the same to each, and give how much of it each took. A broken one counts as having taken all: the poll is
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
    """Bytes that the kernel did not take yet."""

    __slots__ = ("data", "emptied", "ending_since")

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.emptied: gevent.event.Event | None = None  # somebody waits for that
        self.ending_since: float | None = None  # monotonic time; no more will come


class DetachedSocket:
    """Writes to the descriptor at once. What the kernel does not take waits here, up to a bound."""

    __slots__ = ("_backlog", "_sockets", "chunked", "fd", "subscriber")

    detached = True

    def __init__(self, fd: int, sockets: Sockets, subscriber: Subscriber, chunked: bool) -> None:
        """`chunked`: the response's framing; a client of HTTP/1.0 gets the bytes as they are."""
        self.fd = fd
        self.subscriber = subscriber
        self._sockets = sockets
        self.chunked = chunked
        self._backlog: _Backlog | None = None

    @property
    def drained(self) -> bool:
        """Whether the kernel has all that was sent."""
        return self._backlog is None

    def send(self, batch: EncodedBatch) -> bool:
        """Write a batch, or keep what the kernel does not take. False: there is no room for it here."""
        wire = batch.chunk if self.chunked else batch.wire
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
        """Keep what the kernel had no room for."""
        if self._backlog is not None:
            self._backlog.data += rest
            return
        self._backlog = _Backlog(rest)
        self._sockets.await_room(self.fd, True)

    def flush(self) -> bool:
        """Write more of what waits. True once it is all out."""
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
        """Wait until all is out. False if the client does not read for so many seconds, or is cut."""
        backlog = self._backlog
        if backlog is not None:
            backlog.emptied = gevent.event.Event()
            if not backlog.emptied.wait(patience):
                return False
        return self.fd >= 0

    def wake(self) -> None:
        """Do nothing: no greenlet sleeps on this transport."""

    def finish(self, farewell: bytes, *, whole: bool) -> bool:
        """Write these bytes after all others, and no more. See Transport."""
        if self.chunked:
            farewell = EncodedBatch(farewell).chunk + (LAST_CHUNK if whole else b"")
        self._write(farewell)
        if self._backlog is not None:
            self._backlog.ending_since = time.monotonic()
        return self._backlog is None

    def abort(self) -> None:
        """Close the socket; to be called once no channel has the descriptor any more. Harmless when repeated."""
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
        """Leave the descriptor to the server, which closes it."""
        self._sockets.remove(self.fd)
        self.fd = -1

    def is_stalled(self, now: float, *, behind: bool, patience: float) -> bool:  # noqa: ARG002
        """Whether the last bytes have waited for too long. One that is not ending is cut by what finds no room."""
        backlog = self._backlog
        return backlog is not None and backlog.ending_since is not None and now - backlog.ending_since > patience
