"""One connection: what it has had, what it still owes, and where its bytes go."""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from typing import ClassVar, Final, Protocol

import orjson

from pushsvc.errors import PushError, TooManyConnections, Unauthorized, Unavailable, as_openai
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import EventId, user_channel
from pushsvc.storage.log import Clock

COMMENT: Final = EncodedBatch(sse.HEARTBEAT)  # the heartbeat that no page sees
HEARTBEAT_EVENT: Final = EncodedBatch(sse.HEARTBEAT_EVENT)  # the one that it can
SLOW_SECONDS: Final = 2.0  # how long a client may take nothing while more waits for it
ASKER_SECONDS: Final = 600.0  # and one that could not come back for the rest
HELD_EVENTS: Final = 256  # live events that wait for the end of a replay; beyond it the replay goes on instead


class Reason(enum.Enum):
    """Why a connection ended."""

    GONE = "the client left"
    SLOW = "the client reads too slowly"
    STUCK = "the client does not read"
    EXPIRED = "the token expired"
    ENDED = "the answer is complete"
    BROKEN = "an error of the service"
    DRAINING = "the worker is stopping"
    OUSTED = "its user has too many, and newer ones"
    REPLACED = "a repeat of its request took its place"


COMPLETE: Final = (Reason.ENDED, Reason.REPLACED)  # its client is not to come back


# What a client is told that is let go for one of these reasons. Who could come back finds out about the others then.
REFUSALS: Final[dict[Reason, PushError]] = {
    Reason.EXPIRED: Unauthorized("The token has expired."),
    Reason.DRAINING: Unavailable("This worker is stopping; connect again.", retry_after=1),
    Reason.OUSTED: TooManyConnections("This user has newer streams, and as many as one user may.", retry_after=60),
}
_NOT_READ: Final = Unavailable("The answer was not read for too long.", retry_after=1)


class Transport(Protocol):
    """Where a subscriber's bytes go. Never blocks the caller."""

    @property
    def detached(self) -> bool:
        """The Hub writes for it; else a greenlet of its own does, which reads the log itself."""

    @property
    def clear(self) -> bool:
        """The Hub may take for had what it sent: no byte waits here."""

    def send(self, burst: EncodedBatch) -> bool:
        """False: there is no room for it, and nothing was taken."""

    def wake(self) -> None:
        """The subscriber's state changed; look."""

    def end(self, farewell: bytes, *, whole: bool) -> bool:
        """These bytes after those it has, and no more; `whole`: the response is complete, else it is cut. True if that
        is done already."""

    def cut(self) -> None:
        """End the connection now, and with it a write that hangs."""

    def stuck(self, now: float, behind: bool, patience: float) -> bool:
        """The client has taken nothing for so many seconds, and more waits for it: here, or if it is `behind` in the
        log. `now`: monotonic time."""


class CatchUpState:
    """What a subscriber that is not live needs: up to where it must read, and what was announced since."""

    __slots__ = ("begun", "clock", "held", "late", "live_until", "lost", "unasked")

    def __init__(self, unasked: Sequence[str] = (), live_until: EventId | None = None, *, lost: bool = False) -> None:
        """`live_until`: it was live, and has had what was announced up to this. `lost`: the data has lost events, or
        nobody knows what the reader has had; that is to be said."""
        self.unasked = unasked
        self.live_until = live_until
        self.lost = lost
        self.begun = False  # to read, so that its reader's cursor has moved
        # Channels, and the event after which an announcement was lost that lies before `live_until`: what came in
        # the other channels has moved the cursor past it.
        self.late: dict[str, EventId] = {}
        # Where the log stood at some moment; since then all that was announced is held. None: nobody knows yet, or
        # something announced since was lost.
        self.clock: Clock | None = None
        self.held: list[EncodedEvent] = []

    def restart(self) -> None:
        """What was held is not all there is; a new clock is needed."""
        self.clock = None
        self.held.clear()


class Subscriber:
    """Delivers each event once and in order, in two modes, and never holds more than its bounds.

    Catching up: a replay is due or under way; what is announced meanwhile is held, up to a bound. Live: what is
    announced goes straight out, unless its id is at or below the last one handed over.
    """

    tells_cursor: ClassVar[bool] = True  # its client understands `cursor` events
    stays: ClassVar[bool] = False  # as long as it can: its client could not come back
    patience: ClassVar[float] = SLOW_SECONDS

    __slots__ = (
        "ack", "began", "catching", "channels", "counted", "due", "expires", "heartbeat", "last", "ousts", "outlet",
        "proof", "read", "reason", "sent_at", "user",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913  # a record of what the stream asked for
        self,
        user: str,
        channels: Sequence[str],
        after: EventId,
        outlet: Transport,
        *,
        unasked: Sequence[str] = (),
        lost: bool = False,
        ack: bool = True,
        expires: float | None = None,
        heartbeat: EncodedBatch = COMMENT,
        proof: str | None = None,
        ousts: bool = False,
    ) -> None:
        """`user`: empty if there is none. `after`: the cursor. `unasked`: channels whose lost beginning is no loss.
        `lost`: as of CatchUpState. `expires`: Unix time. `proof`: what its ids carry, see proof.py. `ousts`: where the
        user has too many, older ones end."""
        self.user = user
        self.channels = tuple(map(sys.intern, channels))  # thousands may name the same
        self.last = after
        self.read = after  # up to here the log was read: whatever was lost before, it has had
        self.outlet = outlet
        self.ack = ack
        self.expires = expires
        self.heartbeat = heartbeat
        self.proof = proof
        self.ousts = ousts
        self.began = 0  # Unix time in microseconds, by Redis's clock; 0: it does not stand, or never gives way
        self.catching: CatchUpState | None = CatchUpState(tuple(unasked), lost=lost)
        self.counted = False  # see Presence
        self.due = 0  # the Wheel's tick at which a settled one is looked at; 0: it is not settled
        self.sent_at = 0.0  # monotonic time of the last byte; what settled ones get is not noted
        self.reason: Reason | None = None

    @property
    def gives_way(self) -> bool:
        """To its user's newer streams: it is one of GET /events."""
        return self.ousts and self.channels[0] == user_channel(self.user)

    @property
    def counted_as(self) -> str:
        """The name under which its connection counts: never that of an answer, whose listeners are counted by it."""
        return f"user:{self.user}" if ":" in self.user else self.user

    @staticmethod
    def refusal(reason: Reason) -> PushError | None:
        """What its client is told that is let go; None: nothing, it sees for itself."""
        return REFUSALS.get(reason)

    def farewell(self, refusal: PushError, retry_ms: int) -> bytes:
        """The last bytes for a client that is let go."""
        return sse.refused(refusal.problem(), retry_ms)

    @property
    def whole(self) -> bool:
        """It has had all that there was for it, and its client is not to come back."""
        return self.reason in COMPLETE

    def offer(self, burst: EncodedBatch, now: float) -> bool:
        """Events were announced. False: the outlet has no room; they were not taken."""
        if self.catching is not None:
            self._hold(self.catching, burst.events)
            return True
        new = burst.after(self.last)
        if new is None or self.reason is not None:
            return True
        if not self.outlet.send(new.proven(self.proof)):
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
        """An announcement was lost, or may have been: only the log tells. If it is known in which channel, then
        that is complete up to `known`."""
        if self.catching is None:
            self.catching = CatchUpState(live_until=self.last)
        else:
            self.catching.restart()
        if channel is not None and known is not None and self.catching.live_until is not None:
            known = max(known, self.read)
            if known < self.catching.live_until:
                self.catching.late.setdefault(channel, known)
        self.outlet.wake()

    def caught_up(self, through: EventId, now: float) -> bool:
        """All up to `through` has gone out. Live from here on, unless a loss was noticed meanwhile. As `offer`."""
        assert self.catching is not None
        self.last = self.read = through  # not the larger: a cursor from a lost future would swallow what comes
        self.catching.unasked = ()
        if self.catching.clock is None:
            return True
        held = self.catching.held
        self.catching = None
        return not held or self.offer(EncodedBatch.of(held), now)

    def go_live(self) -> None:
        """For one that reads the log by itself whenever something is announced."""
        self.catching = None


class Listener(Subscriber):
    """Follows one answer, and ends with it."""

    __slots__ = ("broken_off", "cancels", "told")

    def __init__(
        self,
        channel: str,
        after: EventId,
        outlet: Transport,
        *,
        cancels: bool,
        expires: float | None = None,
        heartbeat: EncodedBatch = COMMENT,
        proof: str | None = None,
    ) -> None:
        """`cancels`: the answer is for nobody else. Listeners count for the answer and not for a user: it may have
        any number of tabs, and a user any number of answers."""
        super().__init__(
            channel, [channel], after, outlet, ack=False, expires=expires, heartbeat=heartbeat, proof=proof
        )
        self.cancels = cancels
        self.told = False  # the answer's last event was announced, or read
        self.broken_off = False  # then also: it was not completed

    @property
    def counted_as(self) -> str:
        return self.user


class Asker(Listener):
    """The one whose request asked for the answer. It cannot ask again, so it stays as long as the worker can."""

    stays = True
    patience = ASKER_SECONDS
    tells_cursor = False  # OpenAI's clients read every event as JSON

    @staticmethod
    def refusal(reason: Reason) -> PushError | None:
        return REFUSALS.get(reason, _NOT_READ if reason is Reason.STUCK else None)

    def farewell(self, refusal: PushError, retry_ms: int) -> bytes:  # noqa: ARG002
        """Its client knows nothing of reconnecting."""
        return sse.data_frame(orjson.dumps(as_openai(refusal.problem(), refusal.status)))

    @property
    def whole(self) -> bool:
        return super().whole and not self.broken_off
