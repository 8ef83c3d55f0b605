"""Listening to answers of models: to one while it is made or later, and to the news of all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from pushsvc import metrics
from pushsvc.auth import Identity
from pushsvc.calls.access.credentials import admit, bears_token, identify, same_site
from pushsvc.calls.access.seats import Seat, listeners_of, readers_of
from pushsvc.calls.answers import Answer, Stream
from pushsvc.calls.arguments import stream_cursor, stream_heartbeat, stream_parameters
from pushsvc.calls.call import Call
from pushsvc.calls.content_coding import coded_stream, coding_headers
from pushsvc.calls.refusing import STREAM_HEADERS, resumable
from pushsvc.calls.streams import Connection, begin, make_transport, opening, start_after, stream
from pushsvc.calls.turn import ClientTurn
from pushsvc.delivery.starts import Start
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.events import exact_json, sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.events.names import answers_channel
from pushsvc.events.proof import with_proof
from pushsvc.llm.formats.continuing import is_continued
from pushsvc.llm.formats.joining import Json, joined
from pushsvc.llm.listening import answer_subscriber
from pushsvc.llm.record import Record
from pushsvc.llm.store import unknown
from pushsvc.partition import Partition
from pushsvc.storage.cursor import Cursor
from pushsvc.storage.gaps import resume
from pushsvc.storage.tickets.admission import Admission


def listen(call: Call, generation_id: str) -> Answer | Stream:
    """GET /v1/generations/<id>/events: listen to an answer. One event with `"snapshot": true` has its text so far, then
    each token follows. `Last-Event-ID` resumes the stream.

    Answers 200 with text/event-stream, which ends with the answer; 204 to a client that already has all of it; HEAD:
    only the head. Refuses: 400 for a parameter that is wrong, 401 without a good token or ticket, 404 for an answer
    that does not exist or is another user's, 503 as GET /events does.
    """
    return resumable(call, partial(_listen, call, generation_id))


def _listen(call: Call, generation_id: str) -> Answer | Stream:
    partition = call.service.partition_of(generation_id)
    stream_parameters(call)
    cursor, heartbeat = stream_cursor(call, partition.keys), stream_heartbeat(call)
    reader = _reader(call, partition, generation_id)
    if call.method == "HEAD":
        return Answer(200, [*STREAM_HEADERS.items(), *coding_headers(call)])
    over = reader.record.ending is not None
    return _retell(call, partition, reader, cursor) if over else _follow(call, partition, reader, cursor, heartbeat)


class _Reader(NamedTuple):
    """A generation, and what admits its reader. `admission`: None if the ticket in the answer's own URL does."""

    record: Record
    admission: Admission | None = None

    @property
    def seat(self) -> str:
        """The owner among whose streams this one counts."""
        if self.admission is None:
            return readers_of(self.record.user)
        return listeners_of(self.admission.identity.user or self.record.user)  # an admin's token may name no user

    @property
    def expires(self) -> float | None:
        return None if self.admission is None else self.admission.identity.expires

    @property
    def proof(self) -> str | None:
        return None if self.admission is None else self.admission.proof


def _reader(call: Call, partition: Partition, generation_id: str) -> _Reader:
    """Find the generation, and check that the caller may read it. Raises NotFound, also for another user's."""
    ticket, records = call.args.get("ticket", ""), partition.generations.records
    opens = partition.tickets.opens(ticket, generation_id, lambda: records.get(generation_id).created / 1000)
    if opens and not bears_token(call):
        same_site(call)
        return _Reader(records.get(generation_id))
    admission = admit(call)
    return _Reader(record_for(admission.identity, partition, generation_id), admission)


def _follow(
    call: Call, partition: Partition, reader: _Reader, cursor: Cursor, heartbeat: EncodedBatch
) -> Answer | Stream:
    """Stream an answer that is being made: the text so far in one event, then the rest. A client that sends a cursor
    gets only what follows it."""
    record, records = reader.record, partition.generations.records
    after, head = cursor.id or BEGINNING, b""
    if not cursor.stands:
        said = records.said(record.id)
        if said and said[-1].wire.endswith(sse.DONE):  # it has ended just now
            return _retell(call, partition, reader._replace(record=records.get(record.id)), cursor)
        head = _snapshot(call, said)
        after = said[-1].id if said else BEGINNING
    head = _opening(partition, cursor, after) + head
    transport = make_transport(call, alone=True)
    seat = Seat(partition.presence, reader.seat, partition.generations.on_listener_left if record.cancels else None)
    subscriber = answer_subscriber(
        record.id,
        after,
        transport,
        expires=reader.expires,
        heartbeat=heartbeat,
        proof=reader.proof,
        on_leave=seat.left,
        listener=None if reader.admission is None else reader.admission.identity,
    )
    with seat, Connection(call, partition.hub, subscriber) as connection:
        seat.settle()
        return stream(call, partition.hub, connection, transport, head, reader.admission)


def _retell(call: Call, partition: Partition, reader: _Reader, cursor: Cursor) -> Answer:
    """Give an answer that has ended: all of it, or what follows the client's cursor. If that is nothing, status 204
    tells the client not to reconnect."""
    record, retold, reset = reader.record, partition.generations.retold, b""
    found = None if cursor.id is not None else retold.find(record.id)  # else the cursor may be of other data
    if found is None:
        said = partition.generations.records.said(record.id)
        if cursor.id is not None and resume(cursor.id, clock := partition.log.clock()).is_reset:
            reset = sse.gap(cursor.id, said[0].id if said else None, "reset", clock.birth)
            metrics.GAPS.labels("reset").inc()
        if not cursor.stands or reset:
            endings = 1 if record.ending is None or record.ending.error is None else 2
            told = _snapshot(call, said[:-endings])
            said = said[-endings:]
        else:
            said, told = [event for event in said if event.id > (cursor.id or BEGINNING)], b""
        if not said:
            return Answer(204, [])  # an EventSource does not come back after this (WHATWG HTML section 9.2.3)
        found = said[0].id, told + b"".join([event.wire for event in said])
        if cursor.id is None:
            retold.keep(record.id, found)
    oldest, wire = found
    told = _opening(partition, cursor, oldest) + reset + wire
    headers = [*STREAM_HEADERS.items(), *coding_headers(call), *begin(call, reader.admission)]
    return Answer(200, headers, coded_stream(call, with_proof(told, reader.proof)))


def _opening(partition: Partition, cursor: Cursor, oldest: EventId) -> bytes:
    """The first bytes of an answer's stream. `oldest`: the first event for a client whose cursor comes from other
    data."""
    retry_ms = partition.retry_ms()
    if cursor.ours:
        return sse.cursor(cursor.id or BEGINNING, retry_ms)
    birth = partition.log.clock().birth  # before every event
    metrics.GAPS.labels("reset").inc()
    return sse.retry(retry_ms) + sse.gap(None, oldest if oldest != BEGINNING else None, "reset", birth)


def _snapshot(call: Call, said: list[EncodedEvent]) -> bytes:
    """One event with the joined content of these events, under the id of the last of them. Raises ClientLeft."""
    if not said:
        return b""
    turn = ClientTurn(call)

    def values() -> Iterator[Json]:
        for event in said:
            turn.yield_if_over()
            if is_continued(event.wire):
                continue
            yield exact_json.loads(sse.read_event(event.wire)[1].encode())

    whole = joined(values())
    frame = sse.data_frame(exact_json.dumps(whole | {"snapshot": True}, lone=True))
    return sse.with_id(str(said[-1].id).encode(), frame)


def news(call: Call) -> Answer | Stream:
    """GET /v1/generations/events: stream when a generation of the user begins or ends, for pages that list them.

    Answers 200 with text/event-stream, whose events `generation` have `id` and `state`; HEAD: only the head. Refuses as
    GET /events does.
    """
    return resumable(call, partial(_news, call))


def _news(call: Call) -> Answer | Stream:
    identity = identify(call)
    user = identity.need_user()
    partition = call.service.partition_of(user)
    stream_parameters(call)
    cursor, heartbeat = stream_cursor(call, partition.keys), stream_heartbeat(call)
    if call.method == "HEAD":
        return Answer(200, [*STREAM_HEADERS.items(), *coding_headers(call)])
    channels = [answers_channel(user)]
    known = cursor.stands or not cursor.ours
    start = start_after(cursor, channels) if known else Start(partition.log.clock().last)
    transport = make_transport(call)
    subscriber = Subscriber(
        user,
        channels,
        start.after,
        transport,
        new_channels=start.new_channels,
        lost=start.lost,
        tracks_position=False,
        expires=identity.expires,
        heartbeat=heartbeat,
        token=identity.token,
    )
    return stream(
        call, partition.hub, Connection(call, partition.hub, subscriber), transport, opening(partition, start)
    )


def record_for(identity: Identity, partition: Partition, generation_id: str) -> Record:
    """Read a generation of the caller; an admin may read any. Raises NotFound, also for another user's."""
    record = partition.generations.records.get(generation_id)
    if record.user != identity.user and not identity.admin:
        raise unknown(generation_id)
    return record
