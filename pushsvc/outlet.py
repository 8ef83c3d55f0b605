"""The queue outlet: bytes wait here until the request's own greenlet writes them."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import gevent
import gevent.event

from pushsvc.event import EventId
from pushsvc.subscriber import Reason


class QueueOutlet:
    """A bounded queue between the Hub and a generator. Works on every WSGI server.

    With the client's socket at hand it also notices a client that leaves while nothing is being sent, and can
    cut one that does not read.
    """

    def __init__(self, buffer_bytes: int, client: Any = None) -> None:
        self._room = buffer_bytes
        self._buffer_bytes = buffer_bytes
        self._chunks: list[bytes] = []
        self._last: EventId | None = None
        self._ready = gevent.event.Event()
        self._client = client
        self._watcher: Any = None

    def watch(self, left: Any) -> None:
        """Call `left()` when the client hangs up, or sends anything: an event stream has nothing to be told."""
        if self._client is not None:
            self._watcher = gevent.get_hub().loop.io(self._client.fileno(), 1)
            self._watcher.start(left)

    def unwatch(self) -> None:
        """Before the socket goes back to the server."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

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

    def close(self, reason: Reason) -> None:
        self._ready.set()
        if reason in (Reason.SLOW, Reason.GONE) and self._client is not None:
            with contextlib.suppress(OSError):  # gone already
                self._client.shutdown(socket.SHUT_RDWR)
