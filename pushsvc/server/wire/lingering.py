"""Ends a connection whose client still sends, so that it sees its answer."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

import gevent

from pushsvc.server.limits import MOST_SKIPPED_BYTES
from pushsvc.server.wire.connection import PIECE_BYTES, Connection

LINGER_SECONDS: Final = 0.5  # for a client that still sends when its request is refused
_DRAIN_SECONDS: Final = 0.02  # between two pieces of what such a client sends


def linger(connection: Connection) -> bool:
    """Send the end, and discard what the client still sends for a moment: closed with unread bytes, the connection
    would be reset, and the client lose the answer. That is read slowly, because a client that can go on sending may not
    look for an answer; nginx does not."""
    left = MOST_SKIPPED_BYTES  # while bytes are there, receiving them does not let the time-out happen
    with contextlib.suppress(OSError), gevent.Timeout(LINGER_SECONDS, False):
        connection.client.shutdown(socket.SHUT_WR)
        while left > 0:
            gevent.sleep(_DRAIN_SECONDS)
            piece = connection.client.recv(PIECE_BYTES)
            if not piece:
                break
            left -= len(piece)
    return False
