"""The things that presence counts: connections, and those among them that give way to newer ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


def counted_name(user: str) -> str:
    """The name under which the connections of a user count. It is never the name of a finite channel, whose own
    subscribers count under that."""
    return f"user:{user}" if ":" in user else user


def is_user(name: str) -> bool:
    """Whether the name under which a connection counts is a user's, and not that of a finite channel."""
    return ":" not in name or name.startswith("user:")


class Counted(Protocol):
    """A connection as presence counts it."""

    counted: bool

    @property
    def ousts(self) -> bool:
        """Whether older connections of the user end for it."""

    @property
    def counted_as(self) -> str:
        """The name under which it counts."""


class Stream(Counted, Protocol):
    """A connection that gives way to newer ones; no other has the same `began` (see `Presence.now`)."""

    began: int


class StreamsHere(Protocol):
    """The streams of this worker, by the names under which their users count."""

    def giving_way(self, name: str) -> Sequence[Stream]:
        """List the user's streams that give way to new ones, oldest first."""

    def oust(self, name: str, began: int) -> None:
        """End the user's stream that began at that time."""
