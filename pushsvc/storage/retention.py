"""Bounds of the log: how much is kept, and for how long."""

from __future__ import annotations

from typing import Final, NamedTuple

from pushsvc.config import Settings

# A channel's tail outlives its events, so that a client that reconnects later still learns whether it missed any.
TAIL_EXTRA_SECONDS: Final = 30 * 86400


class Retention(NamedTuple):
    """A channel keeps at most `keep_events` events, none longer than `keep_seconds`, and the idempotency keys that were
    used for `dedupe_seconds`."""

    keep_events: int
    keep_seconds: int
    dedupe_seconds: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Retention:
        """The retention that the settings give."""
        return cls(settings.keep_events, settings.keep_seconds, settings.dedupe_seconds)

    @property
    def tail_seconds(self) -> int:
        """Seconds for which the id of a channel's last event is kept, and a user's position, which is compared with
        it."""
        return self.keep_seconds + TAIL_EXTRA_SECONDS
