"""/v1: a model's answers, to the request that asks for one and to whoever listens to it later."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import gevent.event
import orjson
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pushsvc import chunks, question, sse
from pushsvc.arguments import json_body, number
from pushsvc.burst import Live
from pushsvc.chunks import Json
from pushsvc.credentials import admit, identify, same_site
from pushsvc.ending import Ending
from pushsvc.errors import Invalid, NotFound, Unavailable
from pushsvc.event import BEGINNING, EventId, answer_channel, answers_channel, checked_key
from pushsvc.generation import Generation
from pushsvc.history import Bell
from pushsvc.listening import STREAM_HEADERS, Connection, come_back, spend, stream
from pushsvc.outlet import QueueOutlet
from pushsvc.publishing import parse_json
from pushsvc.question import Question
from pushsvc.records import Record
from pushsvc.replay import is_reset
from pushsvc.service import Service, service
from pushsvc.subscriber import Asker, Listener, Reason, Subscriber
from pushsvc.tickets import Admission

MOST_BODY_BYTES: Final = 8 * 2**20  # of a question; it is kept with the answer
DEFAULT_LIMIT: Final = 20
MOST_LIMIT: Final = 100

blueprint = Blueprint("answering", __name__, url_prefix="/v1")


# Asking


@blueprint.post("/chat/completions")
def completions() -> ResponseReturnValue:
    svc = service()
    asked, user, key = _asked()
    svc.hub.check_room()
    generation_id, generation = svc.generations.begin(asked, user, key)
    answer = _streamed if asked.stream else _at_once
    response = answer(svc, generation_id, generation, asked.cancels)
    response.headers["X-Generation-Id"] = generation_id
    return response


@blueprint.post("/generations")
def generations() -> ResponseReturnValue:
    svc = service()
    asked, user, key = _asked(stream=True)
    svc.hub.check_room()
    generation_id, _ = svc.generations.begin(asked, user, key)
    url = f"{request.script_root}/v1/generations/{generation_id}/events?ticket={svc.tickets.reading(generation_id)}"
    return {"id": generation_id, "url": url}, 202, {"X-Generation-Id": generation_id}


def _asked(*, stream: bool | None = None) -> tuple[Question, str, str | None]:
    user = identify().need_user()
    request.max_content_length = MOST_BODY_BYTES
    body = json_body()
    asked = question.parse(parse_json(body), raw=body, stream=stream)
    return asked, user, checked_key(request.headers.get("Idempotency-Key"), "Idempotency-Key")


def _streamed(svc: Service, generation_id: str, generation: Generation | None, cancels: bool) -> Response:
    """As it is made; but if the model refuses, its refusal."""
    outlet = QueueOutlet(svc.settings.send_buffer_bytes, request.environ.get("gunicorn.socket"))
    begun = gevent.event.Event()
    asker = Asker(answer_channel(generation_id), BEGINNING, outlet, cancels=cancels)
    connection = Connection(svc.hub, asker, begun.set)
    try:
        if generation is not None:
            generation.begun = begun
            if not generation.answering:
                begun.wait(svc.settings.heartbeat_seconds)  # then the client must hear that it is being served
            generation.begun = None
        refusal = None if generation is not None and generation.streams else _refusal(svc, generation_id)
    except BaseException:
        connection.leave()
        raise
    if refusal is not None:
        connection.leave()
        return refusal
    return stream(svc.hub, connection, outlet, sse.COMMENT)


def _refusal(svc: Service, generation_id: str) -> Response | None:
    """Nothing was said before it ended: then that is no stream."""
    record = _found(svc, generation_id)
    if record.ending is None or record.ending.error is None or svc.generations.has_said(record):
        return None
    return _not_answered(record.ending)


def _at_once(svc: Service, generation_id: str, generation: Generation | None, cancels: bool) -> Response:
    """When it is complete."""
    bell = Bell()
    asker = Asker(answer_channel(generation_id), BEGINNING, bell, cancels=cancels)
    connection = Connection(svc.hub, asker)
    try:
        while True:
            bell.rung.clear()
            asker.go_live()  # before the record is read, so that nothing rings unheard
            record = _found(svc, generation_id)
            if record.ending is not None:
                break
            if asker.reason not in (None, Reason.ENDED):  # mostly the client left, and nobody reads this
                raise Unavailable(f"This request is not waited for any more: {asker.reason.value}.", retry_after=1)
            bell.rung.wait()
    finally:
        connection.leave()
    if record.ending.error is not None:
        return _not_answered(record.ending)
    answer = record.answer or orjson.dumps(svc.generations.answer(record))
    return Response(answer, content_type="application/json", headers={"Cache-Control": "no-store"})


# Clients of OpenAI's API ask again by themselves after 409, 429 and 5xx; not what somebody cancelled.
_STATUS: Final = {"upstream_error": 502, "timeout": 504, "cancelled": 499, "producer_lost": 503}


def _not_answered(ending: Ending) -> Response:
    """The upstream's own words, or ours."""
    if ending.refusal is not None and ending.refusal[0] >= 400:
        status, headers, body = ending.refusal
        return Response(body, status, headers)
    return Response(orjson.dumps({"error": ending.error}), _STATUS[ending.state], content_type="application/json")


# Listening


@blueprint.get("/generations/<generation_id>/events")
def listen(generation_id: str) -> ResponseReturnValue:
    svc = service()
    cursor = sse.last_event_id(request.headers.get("Last-Event-ID"), request.args.get("last_event_id"))
    if svc.hub.draining and "text/event-stream" in request.accept_mimetypes.values():
        return come_back(svc.hub)
    svc.hub.check_room()
    reader = _reader(svc, generation_id)
    if request.method == "HEAD":
        return Response(headers=STREAM_HEADERS)
    over = reader.record.ending is not None
    response = _retell(svc, reader.record, cursor) if over else _follow(svc, reader, cursor)
    if reader.admission is not None:
        spend(svc, reader.admission, response)
    return response


class _Reader(NamedTuple):
    """A generation, and with what somebody may read it. `admission`: with a ticket that is yet to be spent."""

    record: Record
    expires: float | None = None
    admission: Admission | None = None


def _reader(svc: Service, generation_id: str) -> _Reader:
    """Who may read this one. Raises NotFound also where that is not the caller's to know."""
    ticket = request.args.get("ticket", "")
    if "Authorization" not in request.headers and svc.tickets.opens(ticket, generation_id):
        same_site()
        return _Reader(_found(svc, generation_id))
    admission = admit()
    record = _found(svc, generation_id)
    if record.user != admission.identity.user and not admission.identity.admin:
        raise _unknown(generation_id)
    return _Reader(record, admission.identity.expires, admission)


def _found(svc: Service, generation_id: str) -> Record:
    record = svc.generations.records.find(generation_id)
    if record is None:
        raise _unknown(generation_id)
    return record


def _unknown(generation_id: str) -> NotFound:
    return NotFound(f"There is no generation {generation_id[:80]!r}.")


def _follow(svc: Service, reader: _Reader, cursor: EventId | None) -> Response:
    """Of one that runs: what was said so far in one event, unless the browser says where it was; then the rest."""
    record = reader.record
    head = sse.opening(svc.hub.connections.retry_ms())
    if cursor is None:
        said = svc.generations.records.said(record.id)
        if said and said[-1].wire.endswith(sse.DONE):
            return _retell(svc, _found(svc, record.id), cursor)  # it has ended just now
        head += _snapshot(said)
        cursor = said[-1].id if said else BEGINNING
    outlet = QueueOutlet(svc.settings.send_buffer_bytes, request.environ.get("gunicorn.socket"))
    listener = Listener(answer_channel(record.id), cursor, outlet, cancels=record.cancels, expires=reader.expires)
    return stream(svc.hub, Connection(svc.hub, listener), outlet, head)


def _retell(svc: Service, record: Record, cursor: EventId | None) -> Response:
    """Of one that has ended: all, or what the browser has not had; and if that is nothing, that it need not ask."""
    said, told = svc.generations.records.said(record.id), b""
    if cursor is not None and is_reset(cursor, clock := svc.log.clock()):
        told = sse.gap(cursor, said[0].id if said else None, "reset", clock.epoch)
        cursor = None
    if cursor is None:
        endings = 1 if record.ending is None or record.ending.error is None else 2
        told += _snapshot(said[:-endings])
        said = said[-endings:]
    else:
        said = [event for event in said if event.id > cursor]
    if not said:
        return Response(status=204)  # an EventSource does not come back after this (WHATWG HTML section 9.2.3)
    told += b"".join([event.wire for event in said])
    return Response(sse.opening(svc.hub.connections.retry_ms()) + told, headers=STREAM_HEADERS)


def _snapshot(said: list[Live]) -> bytes:
    """One chunk that says what they said, under the id of the last."""
    if not said:
        return b""
    whole = chunks.joined(orjson.loads(sse.read_event(event.wire)[1]) for event in said)
    frame = sse.data_frame(orjson.dumps(whole | {"snapshot": True}))
    return sse.with_id(str(said[-1].id).encode(), frame)


@blueprint.get("/generations/events")
def news() -> ResponseReturnValue:
    """That a generation of the user began or ended, for pages that list them."""
    svc = service()
    cursor = sse.last_event_id(request.headers.get("Last-Event-ID"), request.args.get("last_event_id"))
    if svc.hub.draining and "text/event-stream" in request.accept_mimetypes.values():
        return come_back(svc.hub)
    svc.hub.check_room()
    identity = identify()
    user = identity.need_user()
    if request.method == "HEAD":
        return Response(headers=STREAM_HEADERS)
    start = svc.log.clock().last if cursor is None else cursor
    outlet = QueueOutlet(svc.settings.send_buffer_bytes, request.environ.get("gunicorn.socket"))
    subscriber = Subscriber(user, [answers_channel(user)], start, outlet, ack=False, expires=identity.expires)
    head = sse.opening(svc.hub.connections.retry_ms(), start if cursor is None else None)
    return stream(svc.hub, Connection(svc.hub, subscriber), outlet, head)


# What is kept


@blueprint.get("/generations/<generation_id>")
def state(generation_id: str) -> ResponseReturnValue:
    svc = service()
    return _described(svc, _owned(svc, generation_id))


@blueprint.delete("/generations/<generation_id>")
def cancel(generation_id: str) -> ResponseReturnValue:
    svc = service()
    record = _owned(svc, generation_id)
    if record.ending is None:
        svc.generations.cancel(record)
    return _described(svc, _found(svc, generation_id))


def _owned(svc: Service, generation_id: str) -> Record:
    identity = identify()
    record = _found(svc, generation_id)
    if record.user != identity.user and not identity.admin:
        raise _unknown(generation_id)
    return record


@blueprint.get("/generations")
def kept() -> ResponseReturnValue:
    """The user's generations, newest first, in the shape of OpenAI's lists."""
    svc = service()
    user = identify().need_user()
    limit = number("limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
    after = request.args.get("after") or None
    try:
        records, more = svc.generations.records.newest(user, limit, after)
    except LookupError as error:
        raise Invalid.field("after", "is none of your generations.") from error
    data = [_described(svc, record) for record in records]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }


def _described(svc: Service, record: Record) -> Json:
    whole = svc.generations.answer(record)
    asked: Json = orjson.loads(record.request)
    messages: list[Any] = asked["messages"]
    return {
        "id": record.id,
        "object": "generation",
        "state": record.state,
        "model": whole.get("model") or asked.get("model"),
        "created": record.created // 1000,
        "messages": messages,
        "text": chunks.text(whole),
        "choices": whole.get("choices") or [],
        "finish_reason": chunks.finish_reason(whole),
        "usage": chunks.usage(whole, messages),
        "error": None if record.ending is None else record.ending.error,
    }
