"""Learns how large a value Redis takes (`proto-max-bulk-len`, `client-query-buffer-limit`, a limit of a proxy). A
larger value makes Redis close the connection, mostly without an error, and its command does not run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import ResponseError

from pushsvc.storage.redis.scripts import Command

LARGE: Final = 2**19  # bytes; every Redis takes values up to this
STEP: Final = 2**12  # bytes; how exactly the limit is found
KNOWN_SECONDS: Final = 60.0  # how long a found bound is trusted

Ask = Callable[[int], bool | None]


class TooLong(ResponseError):
    """A value is larger than Redis takes; nothing was done."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a value is larger than the {limit} bytes that Redis takes")
        self.size = size
        self.limit = limit


def longest(command: Command) -> int:
    """The bytes of a command's largest value."""
    return max(_size(each) for each in command)


def _size(value: Any) -> int:
    if isinstance(value, bytes):
        return len(value)
    return len(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else 0


class Largest:
    """The bounds that are known so far."""

    def __init__(self) -> None:
        self._limit = 0
        self._until = 0.0  # monotonic time

    def check(self, size: int) -> None:
        """Check that a value of this size is not known to be too large. Raises TooLong."""
        if size > self._limit and time.monotonic() < self._until:
            raise TooLong(size, self._limit)

    def judge(self, size: int, ask: Ask) -> None:
        """Find out whether a connection broke because of the size of a value on it. Raises TooLong if so.

        `ask` tries a value of a size that changes nothing. It returns False if that breaks the connection, too, and
        None if there is no connection.
        """
        if not (ask(1) and ask(size) is False and ask(1)):
            return  # Redis is unreachable, or accepts the size by now
        taken, refused = 0, -(-size // STEP)
        while refused - taken > 1:
            middle = (taken + refused) // 2
            if ask(middle * STEP):
                taken = middle
            else:
                refused = middle
        self._limit = max(taken * STEP, LARGE)
        self._until = time.monotonic() + KNOWN_SECONDS
        raise TooLong(size, self._limit)
