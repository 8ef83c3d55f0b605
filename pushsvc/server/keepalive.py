"""Kept-alive connections: one is idle from the end of a response to the first byte of the next request. Every request
that has begun gets an answer."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.socket
from gevent.monkey import get_original

HEAD_SECONDS: Final = 30  # from a request's first byte to the end of its head
PEEKED_BYTES: Final = 256  # enough for the path of a stream
_poll: Final = get_original("select", "poll")  # the original does not switch to other greenlets


class Idle(StopIteration):
    """No request came. Gunicorn treats this as the end of the connection."""


class SlowHead(Exception):
    """A request's head took too long."""


class KeptConnection:
    """A client's connection, for as long as a greenlet reads requests from it.

    `heard`: the first byte of a request was read or is about to be; `held`: see handover.HELD; `response`: gunicorn's,
    once there is one.
    """

    __slots__ = ("_client", "heard", "held", "response")

    def __init__(self, client: Any) -> None:
        self._client = client
        self.heard = False
        self.held: dict[Callable[[], None], None] = {}
        self.response: Any = None

    @property
    def owes_head(self) -> bool:
        """Whether a request has begun, and has no answer yet."""
        return self.heard and not (self.response is not None and self.response.headers_sent)

    def await_request(self, seconds: float) -> bytes:
        """Wait for the first byte of a request, and give its first bytes; none if the connection is encrypted. Raises
        Idle."""
        while not self.heard:
            pending = getattr(self._client, "pending", None)  # of a TLS socket: the number of decrypted bytes
            if pending is None or not pending():
                gevent.socket.wait_read(self._client.fileno(), timeout=seconds, timeout_exc=Idle())
            if pending is not None:
                self.heard = True
                return b""
            first: bytes = self._client.recv(PEEKED_BYTES, socket.MSG_PEEK)
            blank = len(first) - len(first.lstrip(b"\r\n"))  # before a request line: RFC 9112 section 2.2
            if blank:
                self._client.recv(blank)
            else:
                self.heard = True
                return first
        return b""

    def finish(self, unread: bytes) -> bytes:
        """Note that the request has its answer; `unread` bytes belong to the next one."""
        rest = unread.lstrip(b"\r\n")
        self.heard, self.response = bool(rest), None
        return rest

    def end(self) -> None:
        """Call everything in `held`: no greenlet reads from the connection any more."""
        for end in list(self.held):
            with contextlib.suppress(Exception):
                end()

    def silent(self) -> bool:
        """Whether neither a byte of a request nor the end of the connection has arrived."""
        poll = _poll()
        poll.register(self._client.fileno(), select.POLLIN)
        return not self.heard and not poll.poll(0)


class KeepAlive:
    """A context manager around the reading of a request's head: waits for the first byte, then bounds the time that the
    rest of the head may take."""

    def __init__(self, await_request: Callable[[], object]) -> None:
        self._await_request = await_request
        self._head = gevent.Timeout(HEAD_SECONDS, SlowHead("The request's head took too long."))

    def __enter__(self) -> KeepAlive:
        self._await_request()
        self._head.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._head.close()
