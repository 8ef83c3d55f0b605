"""Room for what requests hold: a bound on the bytes that a worker holds at once."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pushsvc.errors import Unavailable

WAIT_SECONDS: Final = 5.0  # for others to give room back
RETRY_SECONDS: Final = 2


class Room:
    """Shares a number of bytes among owners: users, or tokens. A request waits for its bytes before it reads them."""

    def __init__(self, most: int, share: int) -> None:
        """`most`: bytes of all owners; `share`: bytes of one, at least as many as the largest request needs."""
        self._most = most
        self._share = share
        self._held: Counter[str] = Counter()
        self._changed = threading.Condition()  # gevent's, where it patches; some servers have threads

    @contextlib.contextmanager
    def holding(self, size: int, owner: str) -> Iterator[None]:
        """Hold so many bytes while the block runs. Raises Unavailable if there is no room for too long."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(size, owner), WAIT_SECONDS):
                raise Unavailable(
                    f"This worker holds as many bytes of requests as it may ({self._most}, or {self._share} of one "
                    "token); try again.",
                    retry_after=RETRY_SECONDS,
                )
            self._held[owner] += size
        try:
            yield
        finally:
            with self._changed:
                self._held[owner] -= size
                self._held += Counter()  # drops owners that hold nothing
                self._changed.notify_all()

    def _fits(self, size: int, owner: str) -> bool:
        own = self._held[owner]
        return (not own or own + size <= self._share) and (not self._held or self._held.total() + size <= self._most)
