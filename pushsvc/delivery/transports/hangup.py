"""Notices that a client hangs up, and hangs up on a client."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.socket
from gevent.monkey import get_original

_Socket: Final = get_original("socket", "socket")
_READABLE: Final = 1  # libev's EV_READ

SAID_BYTES: Final = 65536  # read at a time of what a client sends while it should only listen
LINGER_SECONDS: Final = 1.0
MOST_SAID_BYTES: Final = 2**20  # in all; a client that sends more is cut


def discard(said: bytes) -> None:
    """Discard what a client sends while it listens."""


class HangUp:
    """Notices that a client leaves while nothing is being sent to it. Without the client's socket it notices
    nothing."""

    def __init__(self, client: Any, said: Callable[[bytes], object] | None, most: float = MOST_SAID_BYTES) -> None:
        """`said` is called with what the client sends, `most` bytes of it. None: it must stay unread, so once the
        client sends anything, its leaving is no longer noticed."""
        self._client = client
        self._said = None if isinstance(client, ssl.SSLSocket) else said  # TLS cannot be read here
        self._most = most
        self._readable: Callable[[], None] = lambda: None
        self._bytes = 0
        self._watcher = None if client is None else gevent.get_hub().loop.io(client.fileno(), _READABLE)

    def watch(self, left: Callable[[], None]) -> None:
        """Call `left()` once, when the client hangs up, or sends too much."""

        def readable() -> None:
            if self._said is None and not has_ended(self._client):
                self.unwatch()
            elif self._said is None or not self._take(self._said):
                self.unwatch()  # the socket stays readable, and would be reported again and again
                left()

        self._readable = readable
        self.listen(True)

    def listen(self, wanted: bool) -> None:
        """Stop or start again to read what the client sends."""
        if self._watcher is not None and wanted:
            self._watcher.start(self._readable)
        elif self._watcher is not None:
            self._watcher.stop()

    def _take(self, said: Callable[[bytes], object]) -> bool:
        """Read what the client sends. False: the client has hung up, or has sent too much."""
        try:
            piece = os.read(self._client.fileno(), SAID_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        said(piece)
        self._bytes += len(piece)
        return bool(piece) and self._bytes <= self._most

    def unwatch(self) -> None:
        """Stop watching; to be called before another part takes the socket. Harmless when repeated."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None


def has_ended(client: Any) -> bool:
    """Whether the client has hung up. Over TLS that cannot be told without reading, so the answer is True."""
    if isinstance(client, ssl.SSLSocket):
        return True
    try:
        with _Socket(fileno=os.dup(client.fileno())) as plain:
            return not plain.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def linger(fd: int) -> None:
    """Send the end, discard what the client still sends for a moment, and close the descriptor. Closed with unread
    bytes, the connection would be reset, and the client lose the last words."""
    left = MOST_SAID_BYTES  # while bytes are there, receiving them does not let the time-out happen
    with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, False), gevent.socket.socket(fileno=fd) as client:
        client.shutdown(socket.SHUT_WR)
        while left > 0 and (piece := client.recv(SAID_BYTES)):
            left -= len(piece)


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
