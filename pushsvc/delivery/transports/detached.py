"""Connections without a greenlet. Each is a descriptor that is written to directly; one poll watches them all."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import gevent.event
from gevent.monkey import get_original

from pushsvc.concurrency.poll import MakePoll
from pushsvc.delivery.transports.base import Listener
from pushsvc.delivery.transports.coding import Coder
from pushsvc.delivery.transports.hangup import MOST_SAID_BYTES, SAID_BYTES
from pushsvc.events.encoded import LAST_CHUNK, EncodedBatch, chunked

if TYPE_CHECKING:  # a transport only passes its subscriber back to the owner
    from pushsvc.delivery.subscriber import Subscriber

_Socket: Final = get_original("socket", "socket")
_ABORT: Final = struct.pack("ii", 1, 0)  # struct linger: closing discards what was not sent, and resets


class SocketOwner(Protocol):
    """The part to which Sockets report."""

    def on_hang_up(self, subscriber: Subscriber) -> None:
        """Handle a client that has hung up, or sent too much."""

    def on_flushed(self, subscriber: Subscriber) -> None:
        """Go on: all bytes that waited for the client have been written."""


class Sockets:
    """All detached sockets of a partition in this worker."""

    def __init__(self, buffer_bytes: int, poll: MakePoll, owner: SocketOwner) -> None:
        """`buffer_bytes`: the number of bytes that may wait for one client."""
        self.buffer_bytes = buffer_bytes
        self._owner = owner
        self._sockets: dict[int, DetachedSocket] = {}
        self._said: dict[int, int] = {}  # number of bytes that each client has sent, if any
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
        """Start or stop watching for room in the kernel's send buffer."""
        self._poll.await_room(fd, wanted)

    def listen(self, fd: int, wanted: bool) -> None:
        """Stop or start reading what the client sends; the kernel keeps it meanwhile, and makes the client wait."""
        self._poll.listen(fd, wanted)

    def remove(self, fd: int) -> None:
        """Stop watching a socket; to be called before its descriptor is closed. Harmless when repeated."""
        self._poll.remove(fd)
        self._said.pop(fd, None)
        found = self._sockets.pop(fd, None)
        if found is not None:
            del found.subscriber  # it refers to this transport, and only the garbage collector would free such a cycle
            found.listener = None  # as this does to the subscriber

    def _look(self, fd: int, room: bool) -> None:
        found = self._sockets.get(fd)
        if found is None:
            return  # it was closed by the handling of another descriptor of the same round
        if not room and not self._take(found):
            self._owner.on_hang_up(found.subscriber)
        elif room and found.flush():
            self._owner.on_flushed(found.subscriber)

    def _take(self, found: DetachedSocket) -> bool:
        """Read what the client sends. False: the client has hung up, or has sent too much."""
        fd = found.fd
        try:
            said = os.read(fd, SAID_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if found.listener is not None:
            return bool(said) and found.listener.hear(said)
        size = self._said[fd] = self._said.get(fd, 0) + len(said)
        return bool(said) and size <= MOST_SAID_BYTES


def write_all(fds: Sequence[int], wire: bytes) -> list[int]:
    """Write the same bytes to each descriptor, and give the number of bytes that each took. A broken connection counts
    as having taken all, because the poll is about to report it.

    The loop runs in C (`map`): in the interpreter, the loop would double Python's share of the cost of a write.
    """
    sent: list[int] = []
    while len(sent) < len(fds):
        try:
            sent.extend(map(os.write, fds[len(sent) :], repeat(wire)))  # keeps the earlier results when a write raises
        except BlockingIOError:
            sent.append(0)
        except OSError:
            sent.append(len(wire))
    return sent


class _Backlog:
    """Bytes that the kernel has not taken yet."""

    __slots__ = ("data", "emptied", "ending_since")

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.emptied: gevent.event.Event | None = None  # set when all is written, if a greenlet waits for that
        self.ending_since: float | None = None  # monotonic time since which nothing more is added


class DetachedSocket:
    """Writes to the descriptor at once. Bytes that the kernel does not take wait here, up to a bound."""

    __slots__ = ("_backlog", "_sockets", "chunked", "fd", "listener", "subscriber")

    detached = True
    uniform: ClassVar[bool] = True  # it takes the same bytes as others

    def __init__(self, fd: int, sockets: Sockets, subscriber: Subscriber, chunked: bool) -> None:
        """`chunked`: the response has the chunked coding; a client of HTTP/1.0 gets the bytes without it."""
        self.fd = fd
        self.subscriber = subscriber
        self._sockets = sockets
        self.chunked = chunked
        self.listener: Listener | None = None  # None: what the client says is discarded
        self._backlog: _Backlog | None = None

    @property
    def drained(self) -> bool:
        """Whether the kernel has taken all sent bytes."""
        return self._backlog is None

    def send(self, batch: EncodedBatch) -> bool:
        """Write a batch, and keep what the kernel does not take. False: there is no room to keep it."""
        if self._backlog is not None and len(self._backlog.data) + len(batch.chunk) > self._sockets.buffer_bytes:
            return False
        self._write(self._framed(batch))
        return True

    def _framed(self, batch: EncodedBatch) -> bytes:
        return batch.chunk if self.chunked else batch.wire

    def _ending(self) -> bytes:
        """The bytes that end the response properly."""
        return LAST_CHUNK if self.chunked else b""

    def _write(self, wire: bytes) -> None:
        if self._backlog is not None:
            self._backlog.data += wire
            return
        try:
            sent = os.write(self.fd, wire)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the connection is broken; the poll is about to report it
        if sent != len(wire):
            self.keep(wire[sent:])

    def listen(self, wanted: bool) -> None:
        """See `Sockets.listen`."""
        if self.fd >= 0:
            self._sockets.listen(self.fd, wanted)

    def keep(self, rest: bytes) -> None:
        """Keep bytes that the kernel had no room for."""
        if self._backlog is not None:
            self._backlog.data += rest
            return
        self._backlog = _Backlog(rest)
        self._sockets.await_room(self.fd, True)

    def flush(self) -> bool:
        """Write more of the waiting bytes. True: all have been written."""
        backlog = self._backlog
        if backlog is None:  # an error has removed it
            self._sockets.await_room(self.fd, False)
            return False
        try:
            del backlog.data[: os.write(self.fd, backlog.data)]
        except OSError:  # no room after all, or a broken connection, as above
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
        """Wait until all bytes have been written. False: that took more than `patience` seconds, or the connection was
        cut."""
        backlog = self._backlog
        if backlog is not None:
            backlog.emptied = gevent.event.Event()
            if not backlog.emptied.wait(patience):
                return False
        return self.fd >= 0

    def wake(self) -> None:
        """Do nothing: no greenlet sleeps on this transport."""

    def finish(self, farewell: bytes, *, whole: bool) -> bool:
        """Write these bytes after all others, and then no more; see Transport."""
        last = self._framed(EncodedBatch(farewell)) if farewell else b""
        self._write(last + self._ending() if whole else last)
        if self._backlog is not None:
            self._backlog.ending_since = time.monotonic()
        return self._backlog is None

    def abort(self) -> None:
        """Close the socket; to be called once no channel holds the descriptor any more. Harmless when repeated."""
        if self.fd >= 0:
            self._sockets.remove(self.fd)
            client, self.fd = _Socket(fileno=self.fd), -1  # in one step, so that no descriptor is closed twice
            with client:
                if self._backlog is not None:  # reset, or the kernel would go on sending to a client that does not read
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                else:  # closing with unread bytes would reset the connection, and the client lose what was sent
                    with contextlib.suppress(OSError):
                        client.recv(SAID_BYTES, socket.MSG_DONTWAIT)
        self._forget_backlog()

    def give_back(self) -> None:
        """Stop using the descriptor; the server closes it."""
        self._sockets.remove(self.fd)
        self.fd = -1

    def is_stalled(self, now: float, *, behind: bool, patience: float) -> bool:  # noqa: ARG002
        """Whether the last bytes have waited for too long. A connection that is not ending is cut when an event finds
        no room (`send`)."""
        backlog = self._backlog
        return backlog is not None and backlog.ending_since is not None and now - backlog.ending_since > patience


class CodedSocket(DetachedSocket):
    """A detached socket of a stream with a content coding."""

    __slots__ = ("_coder",)

    uniform = False

    def __init__(self, fd: int, sockets: Sockets, subscriber: Subscriber, chunked: bool, coder: Coder) -> None:
        super().__init__(fd, sockets, subscriber, chunked)
        self._coder = coder

    def _framed(self, batch: EncodedBatch) -> bytes:
        wire = self._coder.encode(batch)
        return chunked(wire) if self.chunked else wire

    def _ending(self) -> bytes:
        end = self._coder.end()
        return (chunked(end) if self.chunked else end) + super()._ending()
