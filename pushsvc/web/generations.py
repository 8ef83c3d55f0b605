"""/v1/generations: listen to an answer while it is made or later, describe, list and cancel answers."""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pushsvc.auth import Identity
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.errors import Invalid
from pushsvc.events import exact_json, sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.events.names import answers_channel
from pushsvc.events.proof import with_proof
from pushsvc.llm.formats import members, openai
from pushsvc.llm.formats.joining import Json, joined
from pushsvc.llm.listening import answer_subscriber
from pushsvc.llm.record import Record
from pushsvc.llm.store import unknown
from pushsvc.partition import Partition
from pushsvc.storage.cursor import Cursor
from pushsvc.storage.gaps import resume
from pushsvc.storage.tickets import Admission
from pushsvc.web.http.arguments import number, stream_cursor, stream_heartbeat, stream_parameters
from pushsvc.web.http.credentials import admit, bears_token, identify, same_site
from pushsvc.web.http.current import service
from pushsvc.web.http.links import link
from pushsvc.web.http.refusing import STREAM_HEADERS, resumable
from pushsvc.web.http.streams import Connection, Start, begin, make_transport, opening, start_after, stream

DEFAULT_LIMIT: Final = 20
MOST_LIMIT: Final = 100

blueprint = Blueprint("generations", __name__, url_prefix="/v1")


# Listening


@blueprint.get("/generations/<generation_id>/events")
@resumable
def listen(generation_id: str) -> ResponseReturnValue:
    """GET /v1/generations/<id>/events: listen to an answer. One event with `"snapshot": true` has its text so far, then
    each token follows. `Last-Event-ID` resumes the stream.

    Answers 200 with text/event-stream, which ends with the answer; 204 to a client that already has all of it; HEAD:
    only the head. Refuses: 400 for a parameter that is wrong, 401 without a good token or ticket, 404 for an answer
    that does not exist or is another user's, 503 as GET /events does.
    """
    partition = service().partition_of(generation_id)
    stream_parameters()
    cursor, heartbeat = stream_cursor(partition.keys), stream_heartbeat()
    reader = _reader(partition, generation_id)
    if request.method == "HEAD":
        return Response(headers=STREAM_HEADERS)
    over = reader.record.ending is not None
    return _retell(partition, reader, cursor) if over else _follow(partition, reader, cursor, heartbeat)


def answer_url(partition: Partition, generation_id: str) -> str:
    """The URL of an answer for an EventSource, which can send no token: a ticket in the URL opens this answer."""
    return link(f"/v1/generations/{generation_id}/events?ticket={partition.tickets.reading(generation_id)}")


class _Reader(NamedTuple):
    """A generation, and what admits its reader. `admission`: None if the ticket in the answer's own URL does."""

    record: Record
    admission: Admission | None = None

    @property
    def expires(self) -> float | None:
        return None if self.admission is None else self.admission.identity.expires

    @property
    def proof(self) -> str | None:
        return None if self.admission is None else self.admission.proof


def _reader(partition: Partition, generation_id: str) -> _Reader:
    """Find the generation, and check that the caller may read it. Raises NotFound, also for another user's."""
    ticket = request.args.get("ticket", "")
    if partition.tickets.opens(ticket, generation_id) and not bears_token():
        same_site()
        return _Reader(partition.generations.records.get(generation_id))
    admission = admit()
    return _Reader(_record_for(admission.identity, partition, generation_id), admission)


def _follow(partition: Partition, reader: _Reader, cursor: Cursor, heartbeat: EncodedBatch) -> Response:
    """Stream an answer that is being made: the text so far in one event, then the rest. A client that sends a cursor
    gets only what follows it."""
    record, records = reader.record, partition.generations.records
    after, head = cursor.id or BEGINNING, b""
    if not cursor.stands:
        said = records.said(record.id)
        if said and said[-1].wire.endswith(sse.DONE):
            return _retell(partition, reader._replace(record=records.get(record.id)), cursor)  # it has ended just now
        head = _snapshot(said)
        after = said[-1].id if said else BEGINNING
    head = _opening(partition, cursor, after) + head
    transport = make_transport()
    subscriber = answer_subscriber(
        record.id,
        after,
        transport,
        expires=reader.expires,
        heartbeat=heartbeat,
        proof=reader.proof,
        on_leave=partition.generations.on_listener_left if record.cancels else None,
    )
    return stream(partition.hub, Connection(partition.hub, subscriber), transport, head, reader.admission)


def _retell(partition: Partition, reader: _Reader, cursor: Cursor) -> Response:
    """Give an answer that has ended: all of it, or what follows the client's cursor. If that is nothing, status 204
    tells the client not to reconnect."""
    record = reader.record
    said, told = partition.generations.records.said(record.id), b""
    if cursor.id is not None and resume(cursor.id, clock := partition.log.clock()).is_reset:
        told = sse.gap(cursor.id, said[0].id if said else None, "reset", clock.birth)
    if not cursor.stands or told:
        endings = 1 if record.ending is None or record.ending.error is None else 2
        told += _snapshot(said[:-endings])
        said = said[-endings:]
    else:
        said = [event for event in said if event.id > (cursor.id or BEGINNING)]
    if not said:
        return Response(status=204)  # an EventSource does not come back after this (WHATWG HTML section 9.2.3)
    told += b"".join([event.wire for event in said])
    told = _opening(partition, cursor, said[0].id) + told
    response = Response(with_proof(told, reader.proof), headers=STREAM_HEADERS)
    begin(reader.admission, response)
    return response


def _opening(partition: Partition, cursor: Cursor, oldest: EventId) -> bytes:
    """The first bytes of an answer's stream. `oldest`: the first event for a client whose cursor comes from other
    data."""
    retry_ms = partition.retry_ms()
    if cursor.ours:
        return sse.cursor(cursor.id or BEGINNING, retry_ms)
    birth = partition.log.clock().birth  # before every event
    return sse.retry(retry_ms) + sse.gap(None, oldest if oldest != BEGINNING else None, "reset", birth)


def _snapshot(said: list[EncodedEvent]) -> bytes:
    """One event with the joined content of these events, under the id of the last of them."""
    if not said:
        return b""
    whole = joined(exact_json.loads(sse.read_event(event.wire)[1].encode()) for event in said)
    frame = sse.data_frame(exact_json.dumps(whole | {"snapshot": True}, lone=True))
    return sse.with_id(str(said[-1].id).encode(), frame)


@blueprint.get("/generations/events")
@resumable
def news() -> ResponseReturnValue:
    """GET /v1/generations/events: stream when a generation of the user begins or ends, for pages that list them.

    Answers 200 with text/event-stream, whose events `generation` have `id` and `state`; HEAD: only the head. Refuses as
    GET /events does.
    """
    identity = identify()
    user = identity.need_user()
    partition = service().partition_of(user)
    stream_parameters()
    cursor, heartbeat = stream_cursor(partition.keys), stream_heartbeat()
    if request.method == "HEAD":
        return Response(headers=STREAM_HEADERS)
    channels = [answers_channel(user)]
    known = cursor.stands or not cursor.ours
    start = start_after(cursor, channels) if known else Start(partition.log.clock().last)
    transport = make_transport()
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
    )
    return stream(partition.hub, Connection(partition.hub, subscriber), transport, opening(partition, start))


# Records of generations


@blueprint.get("/generations/<generation_id>")
def state(generation_id: str) -> ResponseReturnValue:
    """GET /v1/generations/<id>: describe a generation, with its question and its text so far.

    Answers 200. Refuses: 401 without a good token, 404 for one that does not exist or is another user's.
    """
    partition = service().partition_of(generation_id)
    return _json(_described(partition, _record_for(identify(), partition, generation_id)))


@blueprint.delete("/generations/<generation_id>")
def cancel(generation_id: str) -> ResponseReturnValue:
    """DELETE /v1/generations/<id>: cancel a generation, if it runs; its listeners are told.

    Answers 200 with the generation's new state. Refuses as GET does.
    """
    partition = service().partition_of(generation_id)
    record = _record_for(identify(), partition, generation_id)
    if record.ending is None:
        partition.generations.cancel(record)
    return _json(_described(partition, partition.generations.records.get(generation_id)))


def _record_for(identity: Identity, partition: Partition, generation_id: str) -> Record:
    """Read a generation of the caller; an admin may read any. Raises NotFound, also for another user's."""
    record = partition.generations.records.get(generation_id)
    if record.user != identity.user and not identity.admin:
        raise unknown(generation_id)
    return record


@blueprint.get("/generations")
def kept() -> ResponseReturnValue:
    """GET /v1/generations: list the user's generations, newest first, in the shape of OpenAI's lists; `limit` and
    `after` page through them.

    Answers 200. Refuses: 400 for a parameter that is wrong, 401 without a good token.
    """
    user = identify().need_user()
    partition = service().partition_of(user)
    limit = number("limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
    after = request.args.get("after") or None
    try:
        records, more = partition.generations.records.newest(user, limit, after)
    except LookupError as error:
        raise Invalid.field("after", "is none of your generations.") from error
    data = [_described(partition, record) for record in records]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return _json({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})


def _json(value: Json) -> Response:
    """A response in JSON. Numbers keep the digits with which the client or the model wrote them."""
    return Response(exact_json.dumps(value, lone=True), content_type="application/json")


def _described(partition: Partition, record: Record) -> Json:
    whole = partition.generations.answer(record)
    asked = members.read(record.request) or {}
    named, messages = asked.get("model"), asked["messages"]
    return {
        "id": record.id,
        "object": "generation",
        "state": record.state,
        "url": answer_url(partition, record.id),
        "model": whole.get("model") or (named and named.value),
        "created": record.created // 1000,
        "seconds": None if record.ended is None else (record.ended - record.created) / 1000,
        "messages": orjson.Fragment(messages.text),  # numbers keep the digits with which the client wrote them
        "text": openai.text(whole),
        "choices": whole.get("choices") or [],
        "finish_reason": openai.finish_reason(whole),
        "usage": openai.usage(whole, messages.value),
        "error": None if record.ending is None else record.ending.error,
    }
