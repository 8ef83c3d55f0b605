"""Keeps connections to a model's server open after a response, for the next request."""

from __future__ import annotations

import select
import socket
import time
from typing import Any, Final

from gevent.monkey import get_original

_poll: Final = get_original("select", "poll")
IDLE_SECONDS: Final = 4.0  # how long a connection is kept unused; many servers close theirs after five
MOST_IDLE: Final = 100

Line = Any  # a socket, or the descriptor of one that is not encrypted


class IdleConnections:
    """Keeps a bounded number of connections for a short time."""

    def __init__(self) -> None:
        self._idle: list[tuple[float, socket.socket]] = []  # each with the monotonic time since which it is unused

    def keep(self, line: Line) -> None:
        """Keep a connection. If there are too many, the oldest is closed."""
        sock = socket.socket(fileno=line) if isinstance(line, int) else line
        if len(self._idle) >= MOST_IDLE:
            self._idle.pop(0)[1].close()
        self._idle.append((time.monotonic(), sock))

    def take(self) -> socket.socket | None:
        """Take a connection that can still be used. None: there is none."""
        while self._idle:
            since, sock = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and not _is_readable(sock):
                return sock
            sock.close()
        return None


def _is_readable(sock: socket.socket) -> bool:
    """Whether the server has closed the connection, or has sent bytes without a request."""
    look = _poll()
    look.register(sock.fileno(), select.POLLIN)
    return bool(look.poll(0))
