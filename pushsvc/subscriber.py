"""One connection: what it has had, what it still owes, and where its bytes go."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, Protocol

from pushsvc.event import EventId

HELD_EVENTS: Final = 256  # live events that wait for the end of a replay; beyond it the replay goes on instead


class Reason(enum.Enum):
    """Why a connection ended."""

    GONE = "the client left"
    SLOW = "the client reads too slowly"
    EXPIRED = "the token expired"
    DRAINING = "the worker is stopping"


class Outlet(Protocol):
    """Where a subscriber's bytes go. Never blocks the caller."""

    def send(self, wire: bytes, last: EventId | None) -> bool:
        """Take bytes whose newest event is `last` (None: no event). False: the buffer is full."""

    def wake(self) -> None:
        """The subscriber's state changed; look."""

    def close(self) -> None:
        """No more bytes after those it has."""

    def cut(self) -> None:
        """End the connection now, and with it a write that hangs."""


class Subscriber:
    """Delivers each event once and in order, in two modes, and never holds more than its bounds.

    Not live: a replay is due or under way; what is announced meanwhile is held, up to a bound. Live: what is
    announced goes straight out, unless its id is at or below the last one handed over.
    """

    __slots__ = (
        "ack",
        "channels",
        "expires",
        "held",
        "last",
        "live",
        "outlet",
        "pressed",
        "reason",
        "sent_at",
        "stale",
        "unasked",
        "user",
        "writing_since",
    )

    def __init__(
        self,
        user: str,
        channels: Sequence[str],
        after: EventId,
        outlet: Outlet,
        *,
        unasked: Sequence[str] = (),
        ack: bool = True,
        expires: float | None = None,
    ) -> None:
        """`after`: the cursor. `unasked`: channels whose lost beginning is no loss. `expires`: Unix time."""
        self.user = user
        self.channels = tuple(channels)
        self.last = after
        self.outlet = outlet
        self.unasked = tuple(unasked)
        self.ack = ack
        self.expires = expires
        self.live = False
        self.stale = True  # something may be in the log that was not announced to us
        self.held: list[tuple[EventId, bytes]] = []
        self.sent_at = 0.0  # monotonic time of the last byte, set by the Hub
        self.writing_since: float | None = None  # monotonic time; a write is under way, set by the Hub
        self.pressed = False  # an event found no room since the last write ended
        self.reason: Reason | None = None

    def offer(self, event_id: EventId, wire: bytes) -> None:
        """An event was announced."""
        if self.live:
            self._send(event_id, wire)
        elif len(self.held) < HELD_EVENTS:
            self.held.append((event_id, wire))
        else:
            self.held.clear()
            self.stale = True
            self.pressed = True

    def fall_behind(self) -> None:
        """An announcement was lost, or may have been: only the log tells."""
        self.live = False
        self.stale = True
        self.held.clear()
        self.outlet.wake()

    def begin_replay(self) -> None:
        """Called before the clock is read: what is announced from here on is held."""
        self.stale = False

    def end_replay(self, through: EventId) -> None:
        """All up to `through` has gone out. Live from here on, unless a loss was noticed meanwhile."""
        self.last = through  # not the larger: a cursor from a lost future would swallow what comes
        self.unasked = ()
        if self.stale:
            return
        self.live = True
        held, self.held = self.held, []
        for event_id, wire in held:
            self.offer(event_id, wire)

    def go_live(self) -> None:
        """For one that reads the log by itself whenever something is announced."""
        self.begin_replay()
        self.end_replay(self.last)

    def _send(self, event_id: EventId, wire: bytes) -> None:
        if event_id <= self.last or self.reason is not None:
            return
        if self.outlet.send(wire, event_id):
            self.last = event_id
        else:  # the log has it; a reader that is quick enough reads on from there
            self.pressed = True
            self.fall_behind()

    def close(self, reason: Reason) -> None:
        if self.reason is None:
            self.reason = reason
            self.outlet.close()
