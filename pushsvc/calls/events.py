"""GET /events: from a request to a subscriber that has joined the Hub."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from pushsvc.calls.access.credentials import admit, identify
from pushsvc.calls.answers import Answer, Stream
from pushsvc.calls.arguments import choice, number, stream_cursor, stream_heartbeat, stream_parameters
from pushsvc.calls.call import Call
from pushsvc.calls.content_coding import coding_headers
from pushsvc.calls.refusing import STREAM_HEADERS, resumable
from pushsvc.calls.streams import Connection, make_transport, opening, start_after, stream
from pushsvc.delivery.endings import EVENTS, ROUNDS, StreamKind
from pushsvc.delivery.starts import Origin, Start
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.queued import QueuedTransport
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import BEGINNING
from pushsvc.events.names import ALL, checked_topics, user_channel
from pushsvc.partition import Partition
from pushsvc.storage.clock import Clock, Standing
from pushsvc.storage.cursor import Cursor
from pushsvc.storage.tickets.admission import Admission

MOST_SECONDS: Final = 60  # of a stream that is asked to end


def events(call: Call) -> Answer | Stream:
    """GET /events: stream the events to the user, to all, and to the chosen topics, from the client's last event on.

    Answers 200 with text/event-stream (WHATWG HTML section 9.2); HEAD: only the head. Refuses: 400 for a parameter that
    is wrong, 401 without a good token or ticket, 403 if the token may not listen to a channel, 413 for a long body, 429
    to a user with too many connections or over RATE_CONNECT, 503 if this worker is full or stopping, or Redis is away.
    To an EventSource, 429 and 503 are told in a stream (see refusing.py).
    """
    return resumable(call, partial(_events, call))


def _events(call: Call) -> Answer | Stream:
    if call.method == "HEAD":
        prepare(call, Admission(identify(call)), heartbeat=stream_heartbeat(call))
        return Answer(200, [*STREAM_HEADERS.items(), *coding_headers(call)])
    wanted = prepare(call, admit(call), heartbeat=stream_heartbeat(call))
    partition, subscriber = wanted.partition, wanted.subscriber
    # The count and the join go to Redis together.
    with (
        partition.connects.counting(subscriber.user) as counted,
        Connection(call, partition.hub, subscriber) as connection,
    ):
        counted()
        start = wanted.start
        return stream(
            call, partition.hub, connection, wanted.transport, opening(partition, start), wanted.admission, start.after
        )


class Prepared(NamedTuple):
    """A stream that is about to join the Hub."""

    partition: Partition
    admission: Admission
    transport: QueuedTransport
    subscriber: Subscriber
    given: Start
    origin: Origin | None

    @property
    def start(self) -> Start:
        """The beginning of the stream, once it has joined."""
        return self.given if self.origin is None or self.origin.start is None else self.origin.start


def prepare(call: Call, admission: Admission, *, heartbeat: EncodedBatch, kind: StreamKind = EVENTS) -> Prepared:
    """Make the subscriber that a call asks for. Raises Invalid, or Forbidden."""
    user = admission.identity.need_user()
    partition = call.service.partition_of(user)
    wish = _wish(call, partition)
    if admission.use is not None and admission.use.cursor is not None:
        wish = wish._replace(cursor=Cursor(admission.use.cursor))
    channels = [user_channel(user), ALL, *(admission.topics if wish.topics is None else wish.topics)]
    admission.identity.need_subscribe(channels)
    start = _start(channels, wish)
    origin = Origin(user, partial(_chosen, channels, wish)) if start is None else None
    start = start or Start(BEGINNING)
    kind, expires = _round(kind, wish.seconds, admission.identity.expires)
    transport = make_transport(call, plain=kind.framed)
    subscriber = Subscriber(
        user,
        channels,
        start.after,
        transport,
        new_channels=start.new_channels,
        lost=start.lost,
        origin=origin,
        tracks_position=wish.ack,
        expires=expires,
        heartbeat=heartbeat,
        proof=None if kind.framed else admission.proof,
        kind=kind,
        token=admission.identity.token,
    )
    return Prepared(partition, admission, transport, subscriber, start, origin)


class _Wish(NamedTuple):
    """The parameters of a stream. `topics`: None for the ticket's topics. `seconds`: how long it lasts; 0: no end."""

    cursor: Cursor
    since: str
    ack: bool
    topics: tuple[str, ...] | None
    seconds: int


def _wish(call: Call, partition: Partition) -> _Wish:
    """Read the parameters, before anything is done or spent. Raises Invalid."""
    stream_parameters(call)
    lists = call.args.getlist("topics")
    names = [name for each in lists for name in each.split(",") if name]
    return _Wish(
        stream_cursor(call, partition.keys),
        choice(call, "since", ("unread", "now", "earliest")),
        choice(call, "ack", ("auto", "manual")) == "auto",
        checked_topics(names) if lists else None,
        number(call, "wait", 0, 1, MOST_SECONDS),
    )


def _round(kind: StreamKind, seconds: int, expires: float | None) -> tuple[StreamKind, float | None]:
    """The kind of a stream that lasts for so many seconds, and when it ends (Unix time)."""
    until = time.time() + seconds
    if not seconds or kind.framed or (expires is not None and expires < until):
        return kind, expires
    return ROUNDS, until


def _start(channels: Sequence[str], wish: _Wish) -> Start | None:
    """Find where the stream begins: after its cursor. None: a client that has none, or comes back before the first
    event of a first backlog, begins where `since` says, see `_chosen`."""
    if wish.cursor.stands or not wish.cursor.ours:
        return start_after(wish.cursor, channels)
    return Start(BEGINNING, new_channels=channels) if wish.since == "earliest" else None


def _chosen(channels: Sequence[str], wish: _Wish, clock: Clock, standing: Standing) -> Start:
    """Choose where a stream without a cursor begins, at the moment of this clock."""
    if wish.since == "now" and wish.cursor.id is None:
        return Start(clock.last)
    if standing.position is not None and wish.cursor.id is None:
        return Start(standing.position)
    # A new user gets what is kept for that user alone; events to all or to topics only from now on.
    start = _anew(clock, channels) if standing.loss else Start(BEGINNING, new_channels=channels[1:])
    return start._replace(anew=True)


def _anew(clock: Clock, channels: Sequence[str]) -> Start:
    """The start of a user without a position, soon after the data lost events. The user's events, or the position
    itself, may be among the lost; nobody can know. So the stream reports a gap at the place of the loss. It does so
    once, because the gap's id becomes the user's position."""
    if clock.epochs.recorded_loss(clock.birth) is not None:
        return Start(clock.birth, new_channels=channels[1:])
    return Start(BEGINNING, new_channels=channels[1:], lost=True)
