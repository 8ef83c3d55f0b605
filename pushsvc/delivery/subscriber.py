"""One connection: the events that it has had, those that it still has to get, and the transport of its bytes."""

# The five cursors, all of them event ids:
# - Subscriber.last: the newest event handed to its transport. On the fast path Channels.through counts in its place.
# - Subscriber.read: the end of its last completed replay; the client has been told of every loss before that.
# - CatchUpState.live_until: the subscriber's `last` when it fell behind. None: it has just joined.
# - Replay.through: the id up to which a replay has read; at its end the subscriber goes live from there.
# - Channels.through: all announced events up to this id were sent to the subscribers on the fast path.
# At the end of a replay: last = read = Replay.through. While the subscriber is live, `last` only rises. If Redis loses
# events, Channels.through goes back, and `last` may do so, too.

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from pushsvc.delivery import trails
from pushsvc.delivery.endings import EVENTS, FINAL, ChannelEnd, Reason, StreamKind
from pushsvc.delivery.starts import Origin, Start
from pushsvc.delivery.transports.base import Transport
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import EventId
from pushsvc.events.names import user_channel
from pushsvc.storage.clock import Clock
from pushsvc.storage.counts.counted import counted_name
from pushsvc.telemetry.current import Request

COMMENT: Final = EncodedBatch(sse.HEARTBEAT)  # a heartbeat that the page does not see
HEARTBEAT_EVENT: Final = EncodedBatch(sse.HEARTBEAT_EVENT)  # a heartbeat that the page can see
HELD_EVENTS: Final = 256  # live events held during a replay; if there are more, they are read from the log instead


class CatchUpState:
    """The state of a subscriber that is not live: up to where it must read, and the events announced since."""

    __slots__ = ("backfill", "begun", "clock", "held", "live_until", "lost", "new_channels", "origin")

    def __init__(
        self,
        new_channels: Sequence[str] = (),
        live_until: EventId | None = None,
        *,
        lost: bool = False,
        origin: Origin | None = None,
    ) -> None:
        """`new_channels`: channels in which a lost beginning is no loss to the reader. `live_until`: the event up to
        which the subscriber has had everything while it was live; None: it was not live. `lost`: the data has lost
        events, or it is not known which the reader has had; the reader is to be told. `origin`: chooses the start, with
        the first clock."""
        self.origin = origin
        self.new_channels = new_channels
        self.live_until = live_until
        self.lost = lost
        self.begun = False  # reading has begun, so the reader's cursor may have moved
        # Channels in which an announcement before `live_until` was lost, each with the last event before the loss. The
        # cursor is past the loss already, because of events in other channels.
        self.backfill: dict[str, EventId] = {}
        # The state of the log at some moment; all later announcements are held. None: no clock has come yet, or a later
        # announcement could not be held.
        self.clock: Clock | None = None
        self.held: list[EncodedEvent] = []

    def restart(self) -> None:
        """Drop the clock and wait for a new one: some announcements since the last clock are not held."""
        self.clock = None
        self.held.clear()


class Subscriber:
    """Delivers each event once and in order to one connection, and holds a bounded number of events.

    A subscriber has two modes. Catching up: a replay is due or under way, and announced events are held, up to a bound.
    Live: announced events go to the transport at once, except those at or before `last`, which it has had.
    """

    __slots__ = (
        "began", "catching", "channel_end", "channels", "counted", "expires", "heartbeat", "kind", "last",
        "next_check_tick", "on_leave", "owner", "proof", "read", "reason", "request", "sent_at", "token",
        "tracks_position", "transport", "user",
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
        origin: Origin | None = None,
        tracks_position: bool = True,
        expires: float | None = None,
        heartbeat: EncodedBatch = COMMENT,
        proof: str | None = None,
        kind: StreamKind = EVENTS,
        on_leave: Callable[[Subscriber], None] | None = None,
        owner: str | None = None,
        token: str | None = None,
    ) -> None:
        """`user`: the name under which the connection counts; empty: it does not count. `after`: the cursor.
        `new_channels`, `lost`, `origin`: see CatchUpState. `tracks_position`: delivered events move the user's
        position. `expires`: Unix time. `proof`: the proof in its event ids, see proof.py. `on_leave`: called when it
        leaves, if it counted until then. `owner`: the user who listens, if it counts under another name; `token`: the
        id of the token that opened it, if that has one."""
        self.user = user
        self.owner = owner or user
        self.token = token
        self.channels = tuple(map(sys.intern, channels))  # thousands of subscribers may have the same names
        self.last = after
        self.read = after  # the client has had, or has been told of, all losses before this
        self.transport = transport
        self.tracks_position = tracks_position
        self.expires = expires
        self.heartbeat = heartbeat
        self.proof = proof
        self.kind = kind
        self.on_leave = on_leave
        self.began = 0  # Unix time in microseconds, by Redis's clock; 0: before Hub.stand, or it never gives way
        self.catching: CatchUpState | None = CatchUpState(tuple(new_channels), lost=lost, origin=origin)
        if origin is not None:
            origin.bind(self.begin)
        self.channel_end: ChannelEnd | None = None  # known once the last event was announced, or read
        self.counted = False  # see Presence
        self.next_check_tick = 0  # of the timer wheel; 0: it is not on the fast path
        self.sent_at = 0.0  # monotonic time of the last byte, except for those that the fast path sends
        self.reason: Reason | None = None
        self.request: Request | None = None  # that opened it, where logs or spans will name it

    @property
    def on_fast_path(self) -> bool:
        """Whether its channels hold only its descriptor, see channels.py."""
        return self.next_check_tick > 0

    @property
    def ousts(self) -> bool:
        """Whether older connections of its user end for it, see StreamKind."""
        return self.kind.ousts

    @property
    def gives_way(self) -> bool:
        """Whether this stream may end for newer ones of its user: it is one of GET /events."""
        return self.kind.ousts and self.channels[0] == user_channel(self.user)

    @property
    def counted_as(self) -> str:
        """The name under which the connection counts."""
        return self.user if self.kind.finite else counted_name(self.user)

    @property
    def whole(self) -> bool:
        """Whether the stream has ended completely, so that its client is not to reconnect. For a client that cannot
        resume, a stream that was broken off is not complete."""
        broken_off = self.channel_end is ChannelEnd.BROKEN_OFF and not (self.kind.returns or self.kind.tells_ending)
        return self.reason in FINAL and not broken_off

    def begin(self, start: Start, unclear: bool) -> None:  # called by Origin alone
        """Begin where an Origin has chosen. A reader that was told of a loss while it waited may have been before it if
        its user had no position, or if a loss's place is `unclear`."""
        assert self.catching is not None
        self.last = self.read = start.after
        self.catching.new_channels = tuple(start.new_channels)
        self.catching.lost = start.lost or (self.catching.lost and (start.anew or unclear))

    def offer(self, batch: EncodedBatch, now: float) -> bool:
        """Send announced events, or hold them while catching up. False: the transport has no room, and nothing was
        taken."""
        if self.catching is not None:
            self._hold(self.catching, batch.events)
            return True
        new = batch.after(self.last)
        if new is None or self.reason is not None:
            return True
        if not self.transport.send(new.framed() if self.kind.framed else new.proven(self.proof)):
            return False
        self.last = new.last or self.last
        self.sent_at = now
        return True

    def _hold(self, catching: CatchUpState, events: Sequence[EncodedEvent]) -> None:
        if catching.clock is None:
            return  # the clock that is still to come includes these events
        if len(catching.held) + len(events) <= HELD_EVENTS:
            catching.held.extend(events)
        else:
            catching.restart()

    def fall_behind(self, channel: str | None = None, known: EventId | None = None) -> None:
        """Catch up again, because an announcement was lost, or may have been. `channel`: the channel in which it was
        lost, if that is known; `known`: the last event before the loss."""
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
        """Go live, because all events up to `through` have been sent; but catch up again if a loss was noticed since.
        False: see `offer`."""
        assert self.catching is not None
        self.last = self.read = through  # even if `last` was larger: events of lost data must not hide those to come
        self.catching.new_channels = ()
        if self.catching.clock is None:
            return True
        held = self.catching.held
        self.catching = None
        if held and not self.offer(EncodedBatch.of(held), now):
            return False
        trails.delivered_late(self, held)
        return True

    def go_live(self) -> None:
        """Go live at once, for a request that reads the log itself whenever an event is announced."""
        self.catching = None
