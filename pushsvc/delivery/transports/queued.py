"""The transport for any WSGI server: bytes wait in a queue until the request's own greenlet writes them."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Final

import gevent
import gevent.event

from pushsvc.delivery.transports.base import Listener
from pushsvc.delivery.transports.coding import Coder
from pushsvc.delivery.transports.hangup import hang_up
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import EventId

# How long a write may take while more waits in the log only: a client on a poor line must be able to catch up.
REPLAY_SECONDS: Final = 30.0


class QueuedTransport:
    """A bounded queue between the Hub and a generator.

    With the client's socket it can also cut a client that does not read.
    """

    detached = False
    drained = False  # the greenlet that writes notes what has been written

    def __init__(self, buffer_bytes: int, client: Any = None, coder: Coder | None = None) -> None:
        """`coder`: encodes what is written; what is queued here is not encoded yet."""
        self.coder = coder
        self.listener: Listener | None = None  # to what a WebSocket's client says
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
