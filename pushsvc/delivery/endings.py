"""Kinds of streams: how each kind is treated, why streams end, and what their clients are told."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pushsvc.errors import Later, PushError, TooManyConnections, Unauthorized, Unavailable
from pushsvc.events import sse, websocket

SLOW_SECONDS: Final = 2.0  # how long a client may read nothing while bytes wait for it


class Reason(enum.Enum):
    """The reason why a connection ended."""

    GONE = "the client left"
    SLOW = "the client reads too slowly"
    STUCK = "the client does not read"
    EXPIRED = "the token expired"
    ROUND = "it lasted as long as it was asked to"
    ENDED = "the answer is complete"
    BROKEN = "an error of the service"
    DRAINING = "the worker is stopping"
    OUSTED = "its user has too many, and newer ones"
    MALFORMED = "the client broke the protocol"
    REPLACED = "a repeat of its request took its place"
    REVOKED = "its token was revoked"
    CUT = "an admin ended the connections of its user"


class ChannelEnd(enum.Enum):
    """The end of a finite channel."""

    COMPLETE = "all was said"
    BROKEN_OFF = "its last event but one says why there is no more"


def channel_end(wire: bytes) -> ChannelEnd:
    """The end of a finite channel. `wire`: its last events."""
    return ChannelEnd.BROKEN_OFF if sse.is_broken_off(wire) else ChannelEnd.COMPLETE


FINAL: Final = (Reason.ENDED, Reason.REPLACED, Reason.ROUND)  # the answer is whole: nothing was cut

_REFUSALS: Final[dict[Reason, PushError]] = {
    Reason.EXPIRED: Unauthorized("The token has expired."),
    Reason.CUT: Unauthorized("An admin has ended the connections of this user."),
    Reason.REVOKED: Unauthorized("The token was revoked."),
    Reason.DRAINING: Unavailable("This worker is stopping; connect again.", retry_after=1),
    Reason.OUSTED: TooManyConnections("This user has newer streams, and as many as one user may.", retry_after=60),
}
_NOT_READ: Final = Unavailable("The answer was not read for too long.", retry_after=1)


@dataclass(frozen=True, slots=True)
class StreamKind:
    """The way in which streams of one kind are treated.

    `ousts`: if the user has too many connections, an older one ends for a new stream of this kind; else the new one is
    refused. `finite`: the stream has one channel, and ends with it. `reads_cursor`: the client knows the event
    `cursor`. `returns`: the client reconnects and resumes; a client that does not is kept as long as possible.
    `patience_seconds`: how long a client may read nothing while bytes wait for it. `farewell(refusal, retry_ms)`: the
    last bytes for a client whose stream the service ends. `transport`: its name in metrics. `framed`: it is a
    WebSocket, which gets all events as frames. `ending`: the last bytes of a stream that is complete.
    `expiry`: why it ends when its time is over. `tells_ending`:
    its last event says how it ended, so one that broke off ends properly, too.
    """

    farewell: Callable[[PushError, int], bytes]
    ousts: bool = False
    finite: bool = False
    reads_cursor: bool = True
    returns: bool = True
    patience_seconds: float = SLOW_SECONDS
    transport: str = "sse"
    framed: bool = False
    ending: bytes = b""
    expiry: Reason = Reason.EXPIRED
    tells_ending: bool = False

    def refusal(self, reason: Reason) -> PushError | None:
        """The error that the client is told when its stream ends for this reason. None: it is told nothing, and finds
        out when it reconnects."""
        return _REFUSALS.get(reason, _NOT_READ if reason is Reason.STUCK and not self.returns else None)


def refused_event(refusal: PushError, retry_ms: int) -> bytes:
    """The farewell to an EventSource: the event `refused`."""
    return sse.refused(refusal.problem(), retry_ms)


def close_frame(refusal: PushError, retry_ms: int) -> bytes:  # noqa: ARG001  # its clients know their own pauses
    """The farewell to a WebSocket: why it is closed, and whether the client is to come back (docs/websocket.md)."""
    if isinstance(refusal, Later):
        return websocket.close(websocket.TRY_AGAIN, refusal.detail)
    return websocket.close(websocket.POLICY, refusal.detail)


def _parting(refusal: PushError, retry_ms: int) -> bytes:
    if refusal is _REFUSALS[Reason.DRAINING]:
        return websocket.close(websocket.GOING_AWAY, refusal.detail)
    return close_frame(refusal, retry_ms)


WEBSOCKET: Final = StreamKind(
    _parting, ousts=True, transport="websocket", framed=True, ending=websocket.close(websocket.NORMAL)
)
EVENTS: Final = StreamKind(refused_event, ousts=True)
ROUNDS: Final = StreamKind(refused_event, ousts=True, expiry=Reason.ROUND)  # for proxies that pass on whole answers
LONG_POLL: Final = StreamKind(refused_event, transport="long_poll")
