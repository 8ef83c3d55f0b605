"""The limit on the bytes of questions that are kept of a user: a question may have megabytes, and a user a thousand of
them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from pushsvc.errors import TooManyGenerations
from pushsvc.storage.redis.client import RedisClient

QUESTION: Final = ("request", "asked")  # the fields of a record that may be large before there is an answer
SMALL_BYTES: Final = 65536  # of a question that is not looked at: there are only so many of a user
MOST_LOOKED_AT: Final = 2000  # generations


def size_of(fields: Sequence[Any]) -> int:
    """The bytes of a question, of whose record these are the fields and values."""
    return sum(len(value) for name, value in zip(fields[::2], fields[1::2], strict=True) if name in QUESTION)


class Quota:
    """Makes room for a large question of a user: the oldest that have ended are forgotten."""

    def __init__(self, store: RedisClient, most: int, forget: Callable[[str, Sequence[str]], Sequence[str]]) -> None:
        """`most`: bytes. `forget(user, ids)`: forgets those that have ended, and gives them."""
        self._store = store
        self._keys = store.keys
        self._most = most
        self._forget = forget

    def make_room(self, user: str, size: int) -> None:
        """Make room for a question of this size. Raises TooManyGenerations if what still runs leaves none, or
        Unavailable."""
        if size <= SMALL_BYTES:
            return
        newest_first = self._store.execute_one(("ZREVRANGE", self._keys.generations(user), 0, MOST_LOOKED_AT - 1))
        ids = [each.decode() for each in reversed(newest_first)]
        if not ids:
            return
        sizes = self._sizes(ids)
        over = sum(sizes.values()) + size - self._most
        doomed: list[str] = []
        for each in ids:
            if sum(sizes[one] for one in doomed) >= over:
                break
            if sizes[each]:
                doomed.append(each)
        if over > 0 and sum(sizes[each] for each in self._forget(user, doomed)) < over:
            raise TooManyGenerations(
                f"This user's questions that are being answered have {self._most} bytes; try again later.",
                retry_after=5,
            )

    def _sizes(self, ids: Sequence[str]) -> dict[str, int]:
        """The bytes that are kept of each question."""
        lengths = [("HSTRLEN", self._keys.generation(each), field) for each in ids for field in QUESTION]
        told = iter(self._store.execute(lengths))
        return {each: sum(next(told) for _ in QUESTION) for each in ids}
