"""The contracts between the subscription and its listeners. Calls come in the order of the events in Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pushsvc.storage.redis.scripts import Command

Announcement = tuple[str, bytes]  # channel, payload


class SubscriptionListener(Protocol):
    """Is told from which point on no announcement is missed."""

    def on_connect(self) -> None:
        """A new connection: nothing is subscribed yet, and all announcements since the last one ended are lost."""

    def on_subscribed(self, channel: str) -> None:
        """The channel is subscribed: every event appended from now on is announced; earlier ones must be read from
        the log."""

    def probe(self) -> tuple[Command, Callable[[Any], None]]:
        """Return a command to run between announcements, and the callback for its answer. Called again if the answer is
        lost."""


class AnnouncementListener(Protocol):
    """Receives the announced events."""

    def on_messages(self, batch: Sequence[Announcement]) -> None:
        """Events arrived together. A payload is `<id> <id of the channel's event before> <epoch> <frame>`."""


class ControlListener(Protocol):
    """Receives other workers' messages to this one."""

    def on_control(self, word: str) -> None:
        """A message, see PubSub.send_control."""
