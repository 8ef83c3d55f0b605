"""A client's connection: the bytes that were received, and whether a request has begun."""

from __future__ import annotations

import contextlib
import select
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

import gevent
from gevent.monkey import get_original

from pushsvc.concurrency.shares import SharedSlice
from pushsvc.server.limits import BODY_BYTES, BODY_SECONDS, HEAD_SECONDS, LONGEST_HEAD, LONGEST_LINE
from pushsvc.server.wire.head import END
from pushsvc.server.wire.unreadable import BrokenBody, HeadTooLarge, LineTooLong, SlowBody, SlowHead, Unreadable

PIECE_BYTES: Final = 65536  # received at a time
TRIES: Final = 3  # of what is to be done at a connection's end
MOST_BLANK_BYTES: Final = 1024  # of line ends before a request
_READABLE: Final = 1  # libev's EV_READ
_poll: Final = get_original("select", "poll")  # the original does not switch to other greenlets


class Idle(Exception):
    """The connection ends, because no request came."""


class Connection:
    """A client's connection, for as long as a greenlet reads requests from it.

    `heard`: the first byte of a request was received; `answered`: its response has begun; `held`: see handover.HELD;
    `idle_since`: the monotonic time of the end of the last response; `turn`: the time since it last waited for bytes.
    """

    __slots__ = (
        "_at", "_head", "_patience", "_readable", "_rest", "address", "answered", "client", "heard", "held",
        "idle_since", "turn",
    )  # fmt: skip

    def __init__(self, client: Any, address: Any) -> None:
        """`client`: the socket; `address`: as `accept` gave it."""
        self.client = client
        self.address = address
        self.heard = False
        self.answered = False
        self.held: dict[Callable[[], None], None] = {}
        self.idle_since = time.monotonic()
        self.turn = SharedSlice()
        self._rest = b""
        self._head: bytes | bytearray = b""
        self._readable: Any = None  # a watcher, once there was a response
        self._at = 0  # the bytes before it have been taken
        self._patience: float | None = None  # seconds that may still be waited for the body; None: for ever

    @property
    def owes_head(self) -> bool:
        """Whether a request has begun, and has no answer yet."""
        return self.heard and not self.answered

    def await_request(self) -> None:
        """Wait for the first byte of a request. Raises Idle if the connection ends before that."""
        rest = self._rest[self._at :].lstrip(b"\r\n")  # before a request line: RFC 9112 section 2.2
        if not rest and self._readable is not None:
            gevent.get_hub().wait(self._readable)  # after a response there is rarely something to receive at once
        blank = 0
        while not rest:
            piece: bytes = self.client.recv(PIECE_BYTES)
            blank += len(piece)
            if not piece or blank > MOST_BLANK_BYTES + PIECE_BYTES:
                raise Idle
            rest = piece.lstrip(b"\r\n")
        self._rest, self._at, self.heard = rest, 0, True
        if blank:
            self.turn.restart()

    def take_head(self) -> bytes:
        """Give the bytes of the head of the request that has begun. Raises Unreadable, or Idle if the client leaves."""
        end = self._rest.find(END)
        if end < 0:
            with gevent.Timeout(HEAD_SECONDS, SlowHead):
                end = self._receive_head()
        if end > LONGEST_HEAD:
            raise HeadTooLarge
        self._at = end + len(END)
        self._head = head = self._rest[: self._at]
        self._patience = BODY_SECONDS
        return head

    def _receive_head(self) -> int:
        """Receive until the head is complete. What has come of it stays in `begun`, so that an error can be told in the
        way that the client understands."""
        received = self._head = bytearray(self._rest)
        searched = 0
        while (end := received.find(END, searched)) < 0:
            if not received[:1].isalpha():
                raise Unreadable
            if len(received) > LONGEST_LINE and received.find(b"\r\n", 0, LONGEST_LINE) < 0:
                raise LineTooLong
            if len(received) > LONGEST_HEAD:
                raise HeadTooLarge
            piece = self.client.recv(PIECE_BYTES)
            if not piece:
                raise Idle
            searched = max(0, len(received) - len(END) + 1)
            received += piece
        self._rest = bytes(received)
        return end

    @property
    def begun(self) -> bytes:
        """The head of the present request, as far as it has come."""
        return bytes(self._head or self._rest)

    def be_patient(self) -> None:
        """Wait for the present request's body for as long as it takes: it may be a stream."""
        self._patience = None

    def _receive(self) -> bytes:
        """Wait for more of a body. Raises BrokenBody if the client leaves, or is too slow."""
        loop = gevent.get_hub().loop
        turns = loop.iteration
        if self._patience is None:
            piece: bytes = self.client.recv(PIECE_BYTES)
        else:
            began = time.monotonic()
            with gevent.Timeout(max(0.0, self._patience), SlowBody("the body comes too slowly")):
                piece = self.client.recv(PIECE_BYTES)
            self._patience += len(piece) / BODY_BYTES - (time.monotonic() - began)
        if loop.iteration != turns:  # it waited, so others had their turns; who sends fast is never waited for
            self.turn.restart()
        if not piece:
            raise BrokenBody("the body is cut off")
        return piece

    def take(self, most: int) -> bytes:
        """Give the next bytes, at most so many, at least one. Raises BrokenBody as `_receive` does."""
        if self._at >= len(self._rest):
            self._rest, self._at = self._receive(), 0
        piece = self._rest[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def take_line(self, most: int) -> bytes:
        """Give the next line without its CR LF. Raises BrokenBody if it is longer than `most` bytes, or the client
        leaves."""
        while (end := self._rest.find(b"\r\n", self._at)) < 0:
            if len(self._rest) - self._at > most + 1:
                raise BrokenBody("a line between chunks is too long")
            piece = self._receive()
            self._rest, self._at = self._rest[self._at :] + piece, 0
        if end - self._at > most:
            raise BrokenBody("a line between chunks is too long")
        line, self._at = self._rest[self._at : end], end + 2
        return line

    def has(self, size: int) -> bool:
        """Whether so many bytes have been received, and not been taken."""
        return len(self._rest) - self._at >= size

    def push_back(self, said: bytes) -> None:
        """Put bytes back that another part received, and that belong to the next request."""
        self._rest, self._at = self._rest[self._at :] + said, 0

    def send(self, data: bytes) -> None:
        """Send all of the data. The kernel mostly takes it at once; `sendall` would first ask for the buffer's size."""
        sent = self.client.send(data)
        if sent < len(data):
            self.client.sendall(memoryview(data)[sent:])

    def finish(self, now: float) -> None:
        """Note that the request has its answer. `now`: monotonic time."""
        self.heard = self.answered = False
        self._head = b""
        self.idle_since = now
        if self._readable is None and not isinstance(self.client, ssl.SSLSocket):
            self._readable = gevent.get_hub().loop.io(self.client.fileno(), _READABLE)

    def end(self) -> None:
        """Call everything in `held`: no greenlet reads from the connection any more."""
        if self._readable is not None:
            self._readable.close()
        for end in list(self.held):
            for _ in range(TRIES):  # nobody does it later
                with contextlib.suppress(Exception):
                    end()
                    break

    def silent(self) -> bool:
        """Whether neither a byte of a request nor the end of the connection has arrived."""
        pending = getattr(self.client, "pending", None)  # of a TLS socket: the number of decrypted bytes
        if self.heard or self.has(1) or (pending is not None and pending()):
            return False
        poll = _poll()
        poll.register(self.client.fileno(), select.POLLIN)
        return not poll.poll(0)
