"""Counts who listens to answers. A stream of an answer counts for the answer; here it counts for its user, too, who
else could hold as many as there are answers, times the cap of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from pushsvc.delivery.subscriber import Subscriber
from pushsvc.storage.counts.presence import Presence


class Seat:
    """One stream among all of a user's that listen to answers. MAX_CONNECTIONS_PER_USER is the cap of these apart from
    other streams; over it the newcomer is refused for now, and none ends for it.

    As a context manager it is given back after an exception; otherwise when its subscriber leaves.
    """

    ousts = False

    def __init__(self, presence: Presence, name: str, on_leave: Callable[[Subscriber], None] | None = None) -> None:
        """`name`: under which it counts; `on_leave`: see Subscriber."""
        self.counted = False
        self.counted_as = name
        self._presence = presence
        self._on_leave = on_leave

    def __enter__(self) -> Self:
        self._settle = self._presence.begin_count_in(self)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._presence.count_out(self)

    def settle(self) -> None:
        """Wait until it is counted. Raises TooManyConnections, or Unavailable."""
        self._settle()

    def left(self, subscriber: Subscriber) -> None:
        """Give it back, because its subscriber leaves."""
        self._presence.count_out(self)
        if self._on_leave is not None:
            self._on_leave(subscriber)


def listeners_of(user: str) -> str:
    """The name of a user's streams that listen to answers."""
    return f"answers:{user}"


def readers_of(user: str) -> str:
    """The name of the streams that listen to a user's answers with the tickets in the answers' URLs. The user may have
    given these to others, so they take nothing of the user's own."""
    return f"readers:{user}"
