"""The contracts between the subscription and its listeners. What they hear is in the order in which it happened in
Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pushsvc.storage.redis.scripts import Command

Announcement = tuple[str, bytes]  # channel, payload


class SubscriptionListener(Protocol):
    """Hears from where on nothing is missed."""

    def on_connect(self) -> None:
        """A new connection: nothing is subscribed yet, and what was announced since the last one ended is lost."""

    def on_subscribed(self, channel: str) -> None:
        """The channel is subscribed: everything appended to it is announced from now on; what came before must be
        read."""

    def probe(self) -> tuple[Command, Callable[[Any], None]]:
        """A command to run between the announcements, and who takes its answer. Asked for again if that gets lost."""


class AnnouncementListener(Protocol):
    """Hears the events."""

    def on_messages(self, batch: Sequence[Announcement]) -> None:
        """Events arrived together. A payload is `<id> <id of the channel's event before> <epoch> <frame>`."""


class ControlListener(Protocol):
    """Hears what other workers tell this one."""

    def on_control(self, word: str) -> None:
        """A message, see PubSub.send_control."""
