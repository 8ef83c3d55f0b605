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

SAID_BYTES: Final = 65536  # read at a time of what a client sends while it should only listen
MOST_SAID_BYTES: Final = 2**20  # in all; a client that sends more is cut
# How long a write may take while more waits in the log only: a client on a poor line must be able to catch up.
REPLAY_SECONDS: Final = 30.0


def discard(said: bytes) -> None:
    """Discard what a client sends while it listens."""


class HangUp:
    """Notices that a client leaves while nothing is being sent to it. Without the client's socket it notices
    nothing."""

    def __init__(self, client: Any, said: Callable[[bytes], None] | None) -> None:
        """`said` is called with what the client sends. None: it must stay unread, so once the client sends anything,
        its leaving is no longer noticed."""
        self._client = client
        self._said = None if isinstance(client, ssl.SSLSocket) else said  # TLS cannot be read here
        self._bytes = 0
        self._watcher = None if client is None else gevent.get_hub().loop.io(client.fileno(), _READABLE)

    def watch(self, left: Callable[[], None]) -> None:
        """Call `left()` once, when the client hangs up, or sends too much."""

        def readable() -> None:
            if self._said is None and not _has_ended(self._client):
                self.unwatch()
            elif self._said is None or not self._take(self._said):
                self.unwatch()  # the socket stays readable, and would be reported again and again
                left()

        if self._watcher is not None:
            self._watcher.start(readable)

    def _take(self, said: Callable[[bytes], None]) -> bool:
        """Read what the client sends. False: the client has hung up, or has sent too much."""
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
        """Stop watching; to be called before another part takes the socket. Harmless when repeated."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None


def _has_ended(client: Any) -> bool:
    """Whether the client has hung up. Over TLS that cannot be told without reading, so the answer is True."""
    if isinstance(client, ssl.SSLSocket):
        return True
    try:
        with _Socket(fileno=os.dup(client.fileno())) as plain:
            return not plain.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def hang_up(client: Any) -> None:
    """Close the connection after the bytes written so far, but without the end of the response, because some clients
    (fetch-event-source) do not reconnect after a complete response. `client`: the socket; if None, nothing is done."""
    if client is None:
        return
    # Through a descriptor of its own, because gevent's shutdown would fail a hanging write with EBADF.
    with contextlib.suppress(OSError), _Socket(fileno=os.dup(client.fileno())) as plain:
        if not isinstance(client, ssl.SSLSocket):
            with contextlib.suppress(BlockingIOError):  # closing with unread bytes would reset the connection
                plain.recv(SAID_BYTES, socket.MSG_DONTWAIT)
        plain.shutdown(socket.SHUT_RDWR)


class QueuedTransport:
    """A bounded queue between the Hub and a generator.

    With the client's socket it can also cut a client that does not read.
    """

    detached = False
    drained = False  # the greenlet that writes notes what has been written

    def __init__(self, buffer_bytes: int, client: Any = None) -> None:
        self.ended = False
        self.whole = False  # when ended: the response is to end properly
        self._room = buffer_bytes
        self._buffer_bytes = buffer_bytes
        self._chunks: list[bytes] = []
        self._last: EventId | None = None
        self._ready = gevent.event.Event()
        self._client = client
        self._writing_since: float | None = None  # monotonic time
        self._pressed = False  # the last batch found no room

    def send(self, batch: EncodedBatch) -> bool:
        """Queue a batch. False: it does not fit. An empty queue takes a batch of any size."""
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
        """Take all queued bytes, and the newest event in them. `wait`: wait for bytes, or for `wake`."""
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
        """A context manager around a write by the server, which returns when the kernel has taken all of it."""
        self._writing_since = time.monotonic()
        yield
        self._writing_since = None

    def wake(self) -> None:
        """Wake the greenlet that writes, to look at its subscriber."""
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
