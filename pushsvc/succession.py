"""Which master is believed: each connection, when it is made, says in which life of the data its Redis is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
from redis.connection import Connection, ConnectionInterface
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, ResponseError, TryAgainError

from pushsvc.commands import Script
from pushsvc.keys import Keys
from pushsvc.lives import Lives

logger = logging.getLogger(__name__)

_LIFE: Final = Script("life")

PROMPT_SECONDS: Final = 1.0
MOST_LIVES: Final = 32  # remembered; each takes some 30 bytes of every clock
# What is asked for has moved, is about to, or cannot be had of anybody just now (as ClusterDownError: MASTERDOWN, too).
ELSEWHERE: Final = (AskError, MovedError, TryAgainError, ClusterDownError)


class Replaced(redis.ConnectionError):
    """This Redis had the data once; another has it now."""


@contextmanager
def promptly(connection: Connection) -> Iterator[None]:
    """While it connects to who is called the master. One that greets late was away, maybe for long enough that by now
    another is, and has not heard of it. Raises TimeoutError."""
    began = time.monotonic()
    yield
    if time.monotonic() - began > PROMPT_SECONDS:
        connection.disconnect()
        raise redis.TimeoutError("it took this Redis so long that by now another may be the master")


class Succession:
    """The last life of the data that this process has heard of. Who is in one before it, as a master that does not
    know yet that it was replaced, is not believed, on any connection."""

    def __init__(self, keys: Keys) -> None:
        self.lives = Lives(b"0-0")
        self._keys = keys

    def follow(self, lives: Lives) -> None:
        """Raises Replaced."""
        if lives.before(self.lives):
            raise Replaced("this Redis was replaced, and does not know it yet")
        self.lives = lives

    def greet(self, connection: ConnectionInterface) -> None:
        """The first words on each connection. A Redis that refuses to note anything can still be read; not one that
        says that others have the data."""
        keys = self._keys
        connection.on_connect()
        connection.send_command("EVAL", _LIFE.source, 3, keys.clock, keys.epoch, keys.server, MOST_LIVES)
        try:
            raw = connection.read_response()
        except (*ELSEWHERE, ReadOnlyError):
            raise
        except ResponseError as error:
            logger.warning("redis: %s: %s", type(error).__name__, error)
        else:
            if raw:
                self.follow(Lives(raw))
