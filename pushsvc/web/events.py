"""GET /events: from a request to a subscriber that has joined the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pushsvc.delivery.subscriber import Subscriber
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import ALL, BEGINNING, checked_topics, user_channel
from pushsvc.partition import Partition
from pushsvc.storage.cursor import Cursor
from pushsvc.storage.log import Clock
from pushsvc.web.http.arguments import choice, stream_cursor, stream_heartbeat, stream_parameters
from pushsvc.web.http.credentials import admit, identify
from pushsvc.web.http.current import service
from pushsvc.web.http.refusing import STREAM_HEADERS, resumable
from pushsvc.web.http.streams import Connection, Start, make_transport, opening, start_after, stream

blueprint = Blueprint("events", __name__)


@blueprint.get("/events")
@resumable
def events() -> ResponseReturnValue:
    """GET /events: a stream of what the user, all, and the chosen topics hear, from where the client was.

    Answers 200 with text/event-stream (WHATWG HTML section 9.2); HEAD: only the head. Refuses: 400 for a parameter that
    is wrong, 401 without a good token or ticket, 403 where that may not listen to a channel, 413 for a long body, 429
    to a user with too many connections, 503 where this worker takes no more, or Redis is away. To an EventSource, 429
    and 503 are told in a stream (see refusing.py).
    """
    svc = service()
    if request.method == "HEAD":
        identify()
        return Response(headers=STREAM_HEADERS)
    admission = admit()
    user = admission.identity.need_user()
    partition = svc.partition_of(user)
    wish = _wish(partition)
    if admission.use is not None and admission.use.cursor is not None:
        wish = wish._replace(cursor=Cursor(admission.use.cursor))
    channels = [user_channel(user), ALL, *(admission.topics if wish.topics is None else wish.topics)]
    admission.identity.need_subscribe(channels)
    losses = partition.hub.losses
    start = _start(partition, user, channels, wish)
    transport = make_transport()
    subscriber = Subscriber(
        user,
        channels,
        start.after,
        transport,
        new_channels=start.new_channels,
        lost=start.lost,
        tracks_position=wish.ack,
        expires=admission.identity.expires,
        heartbeat=wish.heartbeat,
        proof=admission.proof,
    )
    connection = Connection(partition.hub, subscriber)
    if start.anew and partition.hub.losses != losses and subscriber.catching is not None:
        subscriber.catching.lost = True  # those who were here have been told meanwhile
    return stream(partition.hub, connection, transport, opening(partition, start), admission, start.after)


class _Wish(NamedTuple):
    """The parameters of a stream. `topics` None: those of the ticket."""

    cursor: Cursor
    since: str
    ack: bool
    topics: tuple[str, ...] | None
    heartbeat: EncodedBatch


def _wish(partition: Partition) -> _Wish:
    """Read the parameters, before anything is done or spent. Raises Invalid."""
    stream_parameters()
    lists = request.args.getlist("topics")
    names = [name for each in lists for name in each.split(",") if name]
    return _Wish(
        stream_cursor(partition.keys),
        choice("since", ("unread", "now", "earliest")),
        choice("ack", ("auto", "manual")) == "auto",
        checked_topics(names) if lists else None,
        stream_heartbeat(),
    )


def _start(partition: Partition, user: str, channels: Sequence[str], wish: _Wish) -> Start:
    """Find where the stream begins: after its cursor. A client that has none, or comes back before the first event of a
    first backlog, begins where `since` says."""
    if wish.cursor.stands or not wish.cursor.ours:
        return start_after(wish.cursor, channels)
    if wish.since == "earliest":
        return Start(BEGINNING, new_channels=channels)
    if wish.since == "now" and wish.cursor.id is None:
        return Start(partition.log.clock().last)
    standing = partition.log.standing(user)
    if standing.position is not None and wish.cursor.id is None:
        return Start(standing.position)
    # Somebody new has not missed what all or a topic heard long ago, but has what was for them alone.
    start = _anew(partition.log.clock(), channels) if standing.loss else Start(BEGINNING, new_channels=channels[1:])
    return start._replace(anew=True)


def _anew(clock: Clock, channels: Sequence[str]) -> Start:
    """The start of a user without a position, not long after the data lost events: these may have been theirs, or the
    position itself. Nobody can know; so a gap says it, where it happened, and once: its id becomes their position."""
    if clock.epochs.recorded_loss(clock.birth) is not None:
        return Start(clock.birth, new_channels=channels[1:])
    return Start(BEGINNING, new_channels=channels[1:], lost=True)
