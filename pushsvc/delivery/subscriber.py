"""One connection: which events it has had, which it is still owed, and where its bytes go."""

# The five cursors, all of them event ids:
# - Subscriber.last: the newest event handed to its transport. On the fast path Channels.through counts in its place.
# - Subscriber.read: where its last completed replay ended; it has been told of every loss before that.
# - CatchUpState.live_until: its `last` when it fell behind. None: it has just joined.
# - Replay.through: up to where a replay has read; at its end the subscriber goes live from there.
# - Channels.through: all announced events up to it were sent to those on the fast path.
# At the end of a replay: last = read = Replay.through. While live, `last` only rises. If Redis loses events,
# Channels.through falls back, and `last` may.

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from pushsvc.delivery.endings import EVENTS, FINAL, ChannelEnd, Reason, StreamKind
from pushsvc.delivery.transports.base import Transport
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import EventId, user_channel
from pushsvc.storage.log import Clock

COMMENT: Final = EncodedBatch(sse.HEARTBEAT)  # the heartbeat that no page sees
HEARTBEAT_EVENT: Final = EncodedBatch(sse.HEARTBEAT_EVENT)  # the one that it can
HELD_EVENTS: Final = 256  # live events that wait for the end of a replay; beyond it the replay goes on instead


class CatchUpState:
    """The state of a subscriber that is not live: up to where it must read, and what was announced since."""

    __slots__ = ("backfill", "begun", "clock", "held", "live_until", "lost", "new_channels")

    def __init__(
        self, new_channels: Sequence[str] = (), live_until: EventId | None = None, *, lost: bool = False
    ) -> None:
        """`new_channels`: those whose lost beginning is no loss to the reader. `live_until`: the subscriber was live,
        and has had all that was announced up to this. `lost`: the data has lost events, or nobody knows what the
        reader has had; the reader is to be told."""
        self.new_channels = new_channels
        self.live_until = live_until
        self.lost = lost
        self.begun = False  # to read, so that the reader's cursor has moved
        # Channels, and the event after which an announcement was lost that lies before `live_until`: events of the
        # other channels have moved the cursor past it.
        self.backfill: dict[str, EventId] = {}
        # Where the log stood at some moment; all that was announced since is held. None: no clock has come yet, or an
        # announcement since was lost.
        self.clock: Clock | None = None
        self.held: list[EncodedEvent] = []

    def restart(self) -> None:
        """Wait for a new clock: some of what was announced since the last one is not held."""
        self.clock = None
        self.held.clear()


class Subscriber:
    """Delivers each event once and in order, in two modes, and never holds more than its bounds.

    Catching up: a replay is due or under way; what is announced meanwhile is held, up to a bound. Live: what is
    announced goes straight out, unless its id is at or below the last one handed over.
    """

    __slots__ = (
        "began", "catching", "channel_end", "channels", "counted", "expires", "heartbeat", "kind", "last",
        "next_check_tick", "on_leave", "proof", "read", "reason", "sent_at", "tracks_position", "transport", "user",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913  # a record of what the stream asked for
        self,
        user: str,
        channels: Sequence[str],
        after: EventId,
        transport: Transport,
        *,
        new_channels: Sequence[str] = (),
        lost: bool = False,
        tracks_position: bool = True,
        expires: float | None = None,
        heartbeat: EncodedBatch = COMMENT,
        proof: str | None = None,
        kind: StreamKind = EVENTS,
        on_leave: Callable[[Subscriber], None] | None = None,
    ) -> None:
        """`user`: under whose name the connection counts; empty: under nobody's. `after`: the cursor. `new_channels`,
        `lost`: as of CatchUpState. `tracks_position`: what is delivered moves the user's position. `expires`: Unix
        time. `proof`: what its ids carry, see proof.py. `on_leave`: called once it has left."""
        self.user = user
        self.channels = tuple(map(sys.intern, channels))  # thousands may name the same
        self.last = after
        self.read = after  # up to here the log was read: whatever was lost before, it has had
        self.transport = transport
        self.tracks_position = tracks_position
        self.expires = expires
        self.heartbeat = heartbeat
        self.proof = proof
        self.kind = kind
        self.on_leave = on_leave
        self.began = 0  # Unix time in microseconds, by Redis's clock; 0: it does not stand, or never gives way
        self.catching: CatchUpState | None = CatchUpState(tuple(new_channels), lost=lost)
        self.channel_end: ChannelEnd | None = None  # known once the last event was announced, or read
        self.counted = False  # see Presence
        self.next_check_tick = 0  # of the timer wheel; 0: it is not on the fast path
        self.sent_at = 0.0  # monotonic time of the last byte; what the fast path sends is not noted
        self.reason: Reason | None = None

    @property
    def on_fast_path(self) -> bool:
        """Whether its channels know just its descriptor, see channels.py."""
        return self.next_check_tick > 0

    @property
    def ousts(self) -> bool:
        """Whether older connections of its user end for it, see StreamKind."""
        return self.kind.ousts

    @property
    def gives_way(self) -> bool:
        """Whether it ends for its user's newer streams: it is one of GET /events."""
        return self.kind.ousts and self.channels[0] == user_channel(self.user)

    @property
    def counted_as(self) -> str:
        """The name under which its connection counts: never that of a finite channel, which counts its own readers."""
        return f"user:{self.user}" if ":" in self.user and not self.kind.finite else self.user

    @property
    def whole(self) -> bool:
        """Whether it has had all that there was for it, and its client is not to come back. For a client that cannot
        return, a stream that was broken off is not whole."""
        broken_off = self.channel_end is ChannelEnd.BROKEN_OFF and not self.kind.returns
        return self.reason in FINAL and not broken_off

    def offer(self, batch: EncodedBatch, now: float) -> bool:
        """Take events that were announced. False: the transport has no room, and they were not taken."""
        if self.catching is not None:
            self._hold(self.catching, batch.events)
            return True
        new = batch.after(self.last)
        if new is None or self.reason is not None:
            return True
        if not self.transport.send(new.proven(self.proof)):
            return False
        self.last = new.last or self.last
        self.sent_at = now
        return True

    def _hold(self, catching: CatchUpState, events: Sequence[EncodedEvent]) -> None:
        if catching.clock is None:
            return  # what is announced before the clock comes, the clock includes
        if len(catching.held) + len(events) <= HELD_EVENTS:
            catching.held.extend(events)
        else:
            catching.restart()

    def fall_behind(self, channel: str | None = None, known: EventId | None = None) -> None:
        """Read the log again: an announcement was lost, or may have been. If it is known in which channel, then that is
        complete up to `known`."""
        if self.catching is None:
            self.catching = CatchUpState(live_until=self.last)
        else:
            self.catching.restart()
        if channel is not None and known is not None and self.catching.live_until is not None:
            known = max(known, self.read)
            if known < self.catching.live_until:
                self.catching.backfill.setdefault(channel, known)
        self.transport.wake()

    def caught_up(self, through: EventId, now: float) -> bool:
        """Go live: all up to `through` has gone out. If a loss was noticed since, stay behind. Returns as `offer`."""
        assert self.catching is not None
        self.last = self.read = through  # not the larger: a cursor from a lost future would swallow what comes
        self.catching.new_channels = ()
        if self.catching.clock is None:
            return True
        held = self.catching.held
        self.catching = None
        return not held or self.offer(EncodedBatch.of(held), now)

    def go_live(self) -> None:
        """Go live at once: this one reads the log by itself whenever something is announced."""
        self.catching = None
