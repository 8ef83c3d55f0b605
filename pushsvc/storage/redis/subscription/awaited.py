"""The commands that Redis has yet to answer on a connection that subscribes, in order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

Taker = Callable[[Any], None]


class Refused(Exception):
    """Redis refused to subscribe to keys: none of the command's is subscribed."""


class Awaited:
    """Redis confirms each key of a subscribing command by itself, unless it refuses the command. Other commands have an
    answer each."""

    def __init__(self) -> None:
        self._next: deque[Taker | set[str]] = deque()  # callbacks for answers; keys that are yet to be confirmed
        self._requests: Counter[str] = Counter()  # SSUBSCRIBEs sent or queued and not confirmed, by key

    def clear(self) -> None:
        """Forget all: the connection is a new one."""
        self._next.clear()
        self._requests.clear()

    def request(self, key: str) -> None:
        """An SSUBSCRIBE to the key is queued."""
        self._requests[key] += 1

    def await_keys(self, keys: Iterable[str]) -> None:
        """A command for these keys is sent, which has no answer but their confirmations."""
        self._next.append(set(keys))

    def await_answers(self, takers: Iterable[Taker]) -> None:
        """Commands are sent, whose answers these take."""
        self._next.extend(takers)

    def strike_out(self, key: str) -> None:
        """One key of a command was confirmed."""
        pending = self._next[0] if self._next else None
        if isinstance(pending, set):
            pending.discard(key)
            if not pending:
                self._next.popleft()

    def is_confirmed(self, key: str) -> bool:
        """Count a confirmed SSUBSCRIBE. True: it was the last one. A SUNSUBSCRIBE may stand between two of one key, so
        only the last answer proves anything."""
        self._requests[key] -= 1
        if self._requests[key] > 0:
            return False
        del self._requests[key]
        return True

    def take(self, answer: Any) -> None:
        """Pass an answer on. Raises Refused, or what the callback raises."""
        taker = self._next.popleft() if self._next else None
        if isinstance(taker, set):
            raise Refused
        if taker is not None:
            taker(answer)
