"""Connections that subscribe, and their messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import hiredis
import redis
from redis.connection import Connection
from redis.maint_notifications import MaintNotificationsConfig

READ_BYTES: Final = 262144  # most bytes of one read; messages read together are sent together
_PARTIAL: Final = object()


def subscription(client: redis.Redis) -> Connection:
    """A connection that may subscribe. It is not connected yet."""
    pool = client.connection_pool
    settings = pool.connection_kwargs | {
        "protocol": 3,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    connection: Connection = pool.connection_class(**settings)  # the pool would keep its own for ever
    return connection


def batches(connection: Connection) -> Iterator[list[Any]]:
    """Read what comes on a subscribed connection: each batch holds the messages that arrived together, parsed.

    Raises OSError when the connection breaks, or is silent for ANSWER_SECONDS; ConnectionError when Redis closes it.
    """
    sock: Any = connection._get_socket()  # noqa: SLF001  # redis-py has no way to read many messages at once
    reader = hiredis.Reader(notEnoughData=_PARTIAL)
    buffer = bytearray(READ_BYTES)
    while True:
        size = sock.recv_into(buffer)
        if size == 0:
            raise redis.ConnectionError("Redis closed the subscription")
        reader.feed(buffer, 0, size)  # type: ignore[arg-type]  # takes any buffer
        batch = []
        while (message := reader.gets()) is not _PARTIAL:
            batch.append(message)
        yield batch
