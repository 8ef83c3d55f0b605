"""The transport for any WSGI server: bytes wait in a queue until the request's own greenlet writes them."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.event
from gevent.monkey import get_original

from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import EventId

_Socket: Final = get_original("socket", "socket")
_READABLE: Final = 1  # libev's EV_READ

SAID_BYTES: Final = 65536  # read at a time of what a client says that should only listen
MOST_SAID_BYTES: Final = 2**20  # in all; who says more is cut
# So long may a write take while there is only more in the log: who comes back on a poor line must get somewhere.
REPLAY_SECONDS: Final = 30.0


def discard(said: bytes) -> None:
    """Drop what a client says while it listens."""


class HangUp:
    """Notices a client that leaves while nothing is being sent to it. Without a socket at hand it notices nothing."""

    def __init__(self, client: Any, said: Callable[[bytes], None] | None) -> None:
        """`said` is called with what the client sends meanwhile. None: nobody may read that, and from then on the
        client's leaving goes unnoticed."""
        self._client = client
        self._said = None if isinstance(client, ssl.SSLSocket) else said  # TLS reads in a way of its own
        self._bytes = 0
        self._watcher = None if client is None else gevent.get_hub().loop.io(client.fileno(), _READABLE)

    def watch(self, left: Callable[[], None]) -> None:
        """Call `left()` once, when the client hangs up, or sends more than may be."""

        def readable() -> None:
            if self._said is None and not _has_ended(self._client):
                self.unwatch()
            elif self._said is None or not self._take(self._said):
                self.unwatch()  # the socket stays readable, and would be reported for ever
                left()

        if self._watcher is not None:
            self._watcher.start(readable)

    def _take(self, said: Callable[[bytes], None]) -> bool:
        """Read what the client says. False: no more will come, or may."""
        try:
            piece = os.read(self._client.fileno(), SAID_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        said(piece)
        self._bytes += len(piece)
        return bool(piece) and self._bytes <= MOST_SAID_BYTES

    def unwatch(self) -> None:
        """Stop watching; to be called before the socket goes to somebody else. Harmless when repeated."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None


def _has_ended(client: Any) -> bool:
    """Whether the client has hung up; also True if it speaks TLS: then nobody can tell without reading."""
    if isinstance(client, ssl.SSLSocket):
        return True
    try:
        with _Socket(fileno=os.dup(client.fileno())) as plain:
            return not plain.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def hang_up(client: Any) -> None:
    """End the connection once what was written is out, without the end of the response, whatever its framing is: for
    some clients (fetch-event-source) a response that is whole is a stream that nobody need come back to.

    Without a socket at hand it does nothing."""
    if client is None:
        return
    # Through a descriptor of its own, because gevent's shutdown would fail a hanging write with EBADF.
    with contextlib.suppress(OSError), _Socket(fileno=os.dup(client.fileno())) as plain:
        if not isinstance(client, ssl.SSLSocket):
            with contextlib.suppress(BlockingIOError):  # what is left unread would have the client reset, unheard
                plain.recv(SAID_BYTES, socket.MSG_DONTWAIT)
        plain.shutdown(socket.SHUT_RDWR)


class QueuedTransport:
    """A bounded queue between the Hub and a generator.

    With the client's socket at hand it can also cut a client that does not read.
    """

    detached = False
    drained = False  # who writes for it says what has been written

    def __init__(self, buffer_bytes: int, client: Any = None) -> None:
        self.ended = False
        self.whole = False  # what is there then is a complete response
        self._room = buffer_bytes
        self._buffer_bytes = buffer_bytes
        self._chunks: list[bytes] = []
        self._last: EventId | None = None
        self._ready = gevent.event.Event()
        self._client = client
        self._writing_since: float | None = None  # monotonic time
        self._pressed = False  # an event found no room, and none has found any since

    def send(self, batch: EncodedBatch) -> bool:
        """Queue a batch. False: there is no room for it. An empty queue takes a batch of any size."""
        if len(batch.wire) > self._room and self._room < self._buffer_bytes:
            self._pressed = True
            return False
        self._pressed = False
        self._put(batch.wire)
        self._last = batch.last or self._last
        return True

    def _put(self, wire: bytes) -> None:
        self._room -= len(wire)
        self._chunks.append(wire)
        self._ready.set()

    def take(self, *, wait: bool) -> tuple[bytes, EventId | None]:
        """Take all bytes there are, and the newest event in them. `wait`: until there are some, or a wake."""
        if wait:
            self._ready.wait()
        self._ready.clear()
        wire, last = b"".join(self._chunks), self._last
        self._chunks.clear()
        self._last = None
        self._room = self._buffer_bytes
        return wire, last

    @contextlib.contextmanager
    def writing(self) -> Any:
        """Wrap a write by the server, which comes back when the kernel has all of it."""
        self._writing_since = time.monotonic()
        yield
        self._writing_since = None

    def wake(self) -> None:
        """Have the greenlet that writes look at its subscriber."""
        self._ready.set()

    def finish(self, farewell: bytes, *, whole: bool) -> bool:
        """Queue these last bytes; the greenlet ends once they are written. See Transport."""
        self.ended, self.whole = True, whole
        self._put(farewell)
        return False

    def abort(self) -> None:
        """End the connection now, and with it a write that hangs."""
        self.ended = True
        self._ready.set()
        hang_up(self._client)

    def is_stalled(self, now: float, *, behind: bool, patience: float) -> bool:
        """Whether a write has been hanging for too long. See Transport."""
        if self._writing_since is None:
            return False
        seconds = now - self._writing_since
        if self._pressed or self.ended:
            return seconds > patience
        return behind and seconds > max(patience, REPLAY_SECONDS)
