"""Where a connection's bytes wait until the request's own greenlet writes them, and who notices that it left."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.event
from gevent.monkey import get_original

from pushsvc.event import EventId

_Socket: Final = get_original("socket", "socket")
_READABLE: Final = 1  # libev's EV_READ


class HangUp:
    """Notices a client that leaves while nothing is being sent to it. Without a socket at hand it notices nothing."""

    def __init__(self, client: Any) -> None:
        self._watcher = None if client is None else gevent.get_hub().loop.io(client.fileno(), _READABLE)

    def watch(self, left: Callable[[], None]) -> None:
        """Call `left()` once, when the client hangs up or sends anything: it has nothing to say while it listens."""

        def readable() -> None:
            self.unwatch()  # the socket stays readable, and would be reported for ever
            left()

        if self._watcher is not None:
            self._watcher.start(readable)

    def unwatch(self) -> None:
        """Before the socket goes back to the server. Harmless when repeated."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()


class QueueOutlet:
    """A bounded queue between the Hub and a generator. Works on every WSGI server.

    With the client's socket at hand it can also cut a client that does not read.
    """

    def __init__(self, buffer_bytes: int, client: Any = None) -> None:
        self._room = buffer_bytes
        self._buffer_bytes = buffer_bytes
        self._chunks: list[bytes] = []
        self._last: EventId | None = None
        self._ready = gevent.event.Event()
        self._client = client

    def send(self, wire: bytes, last: EventId | None) -> bool:
        if len(wire) > self._room and self._room < self._buffer_bytes:
            return False
        self._room -= len(wire)
        self._chunks.append(wire)
        self._last = last or self._last
        self._ready.set()
        return True

    def take(self, *, wait: bool) -> tuple[bytes, EventId | None]:
        """All bytes there are and the newest event in them; `wait`: until there are some, or a wake."""
        if wait:
            self._ready.wait()
        self._ready.clear()
        wire, last = b"".join(self._chunks), self._last
        self._chunks.clear()
        self._last = None
        self._room = self._buffer_bytes
        return wire, last

    def wake(self) -> None:
        self._ready.set()

    def close(self) -> None:
        self._ready.set()

    def cut(self) -> None:
        if self._client is not None:
            # Through a descriptor of its own, because gevent's shutdown would fail the hanging write with EBADF.
            with contextlib.suppress(OSError), _Socket(fileno=os.dup(self._client.fileno())) as client:
                client.shutdown(socket.SHUT_RDWR)
