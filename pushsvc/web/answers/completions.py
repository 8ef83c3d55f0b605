"""POST /v1/chat/completions and POST /v1/generations: ask a model a question. The response is the answer, as a stream
or when it is complete, or the URL at which to listen to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import gevent.event
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.access.seats import Seat, listeners_of
from pushsvc.calls.arguments import json_body
from pushsvc.calls.content_coding import coded_stream, coding_headers
from pushsvc.calls.refusing import STREAM_HEADERS
from pushsvc.calls.streams import Connection, make_transport, stream
from pushsvc.calls.turn import ClientTurn
from pushsvc.delivery.endings import Reason
from pushsvc.delivery.transports.base import Transport
from pushsvc.delivery.transports.wakeup import Wakeup
from pushsvc.errors import Unavailable
from pushsvc.events import exact_json, sse
from pushsvc.events.event import BEGINNING
from pushsvc.events.publication import checked_key
from pushsvc.llm import request as question
from pushsvc.llm.generation import Generation
from pushsvc.llm.listening import ANSWER_TO_REQUESTER, answer_subscriber
from pushsvc.llm.models.base import media_type, passing
from pushsvc.llm.outcome import CANCELLED, DATA_LOST, OPERATORS, RUNNING, Ending
from pushsvc.llm.record import Record
from pushsvc.llm.repeats import RepeatKey, key_of
from pushsvc.llm.request import Question
from pushsvc.partition import Partition
from pushsvc.web.answers.generations import answer_url
from pushsvc.web.http.current import call, respond, service

MOST_BODY_BYTES: Final = 8 * 2**20  # of a question; it is kept with the answer

blueprint = Blueprint("completions", __name__, url_prefix="/v1")


@blueprint.post("/chat/completions")
def completions() -> ResponseReturnValue:
    """POST /v1/chat/completions: ask a model, as OpenAI's API has it (API reference, "Chat Completions"). A repeated
    `Idempotency-Key` gets the answer of the first request.

    Answers 200 with the completion, or with `stream: true` text/event-stream; `X-Generation-Id` names the answer. A
    refusal by the model's server is passed on. Refuses: 400 for a member that is wrong, 401 without a good token, 413
    for a question that is too large, 415 for another type than JSON, 429 if too many answers are being made, or over
    RATE_ASK, 499 if the answer was cancelled, 502 if the model fails, 503 if this worker is full or stopping, or Redis
    is away, 504 if the model takes too long.
    """
    partition, user = _asker()
    asked, key, (generation_id, generation) = _begin(partition, user)
    if generation is not None:
        begun = _Begun(generation_id, user, generation, asked.cancels, again=key is not None and key.given)
        response = _streamed(partition, begun) if asked.stream else _at_once(partition, begun)
    else:
        response = _repeated(partition, partition.generations.records.get(generation_id), stream=asked.stream)
    if key is not None and not key.given:  # the client has its answer, and does not retry
        partition.generations.records.forget_key(user, key)
    response.headers["X-Generation-Id"] = generation_id
    return response


@blueprint.post("/generations")
def generations() -> ResponseReturnValue:
    """POST /v1/generations: have a model answer, and listen later. The body is that of POST /v1/chat/completions.

    Answers 202 with the `id`, and a `url` at which an EventSource hears the answer. Refuses as POST
    /v1/chat/completions does, except for failures of the model: those are told to the listeners.
    """
    partition, user = _asker()
    _, _, (generation_id, _) = _begin(partition, user, stream=True)
    url = answer_url(partition, generation_id)
    return {"id": generation_id, "url": url}, 202, {"X-Generation-Id": generation_id}


def _asker() -> tuple[Partition, str]:
    """Find who asks, and the partition that has the answers. Raises Unavailable if this worker takes no more
    connections."""
    svc = service()
    user = identify(call()).need_user()
    svc.capacity.check()
    return svc.partition_of(user), user


def _begin(
    partition: Partition, user: str, *, stream: bool | None = None
) -> tuple[Question, RepeatKey | None, tuple[str, Generation | None]]:
    """Read the question, within the user's rate, and begin the generation. Raises TooManyRequests before the question
    is read, what is wrong with the question, or as Generations.begin does."""
    given = checked_key(request.headers.get("Idempotency-Key"), "Idempotency-Key")
    retries = request.headers.get("X-Stainless-Retry-Count", "")
    model, pause = service().settings.llm_model, ClientTurn(call()).yield_if_over
    with partition.asks.counting(user) as counted:
        counted()
        with json_body(call(), MOST_BODY_BYTES, f"user:{user}") as body:
            asked = question.parse(body, model=model, stream=stream, pause=pause)
            key = key_of(given, body, whole=not asked.stream, retries=retries)
            return asked, key, partition.generations.begin(asked, user, key)


class _Begun(NamedTuple):
    """The answer to a request of this user. `generation`: set if this request began it. `cancels`: the answer is
    cancelled when nobody listens any more. `again`: the client can ask for the answer again, with the same key."""

    id: str
    user: str
    generation: Generation | None
    cancels: bool
    again: bool = True


def _repeated(partition: Partition, record: Record, *, stream: bool) -> Response:
    """Answer a repeated request with the answer to the first one of the same key, from its beginning."""
    if record.ending is None:
        begun = _Begun(record.id, record.user, None, record.cancels)
        return _streamed(partition, begun) if stream else _at_once(partition, begun)
    if not stream:
        return _complete(partition, record)
    refusal = _refusal(partition, record)
    if refusal is not None:
        return refusal
    said = partition.generations.records.said(record.id)
    headers = record.ending.headers | STREAM_HEADERS | dict(coding_headers(call()))
    return Response(coded_stream(call(), b"".join([event.wire for event in said])), headers=headers)


def _streamed(partition: Partition, begun: _Begun) -> Response:
    """Stream the answer as it is made; if the model refuses, give its refusal."""
    transport = make_transport(call(), alone=True)
    generation, known = begun.generation, gevent.event.Event()
    with _joined(partition, begun, transport, known.set) as connection:
        if generation is not None:
            # After the time of a heartbeat the client must get a sign of life, so the response begins.
            generation.wait_begun(known, service().settings.heartbeat_seconds)
        streams = generation is not None and generation.streams
        refusal = None if streams else _refusal(partition, partition.generations.records.find(begun.id))
        if refusal is not None:
            connection.leave()
            return refusal
        response = stream(call(), partition.hub, connection, transport, sse.HEARTBEAT)
        if generation is not None:
            response.headers.extend(generation.headers.items())
        return respond(response)


def _joined(
    partition: Partition, begun: _Begun, transport: Transport, left: Callable[[], None] | None = None
) -> Connection:
    """Listen to the answer. Raises what Connection does; then an answer that nobody else can ask for is cancelled. Who
    asks once more is one of the user's listeners; who asks first has been counted as an answer."""
    on_leave = partition.generations.on_requester_left if begun.cancels else None
    seat = None if begun.generation is not None else Seat(partition.presence, listeners_of(begun.user), on_leave)
    subscriber = answer_subscriber(
        begun.id,
        BEGINNING,
        transport,
        kind=ANSWER_TO_REQUESTER,
        on_leave=on_leave if seat is None else seat.left,
        listener=identify(call()),
    )
    try:
        if seat is None:
            return Connection(call(), partition.hub, subscriber, left)
        with seat, Connection(call(), partition.hub, subscriber, left) as connection:
            seat.settle()
            return connection
    except BaseException:
        if begun.generation is not None and not begun.again:
            begun.generation.end(CANCELLED)
        raise


def _refusal(partition: Partition, record: Record | None) -> Response | None:
    """The response for an answer that failed before any of its text was made: an error, not a stream. None: the answer
    runs, has text, or ended well. `record`: None if Redis has lost it."""
    if record is None:
        return _not_answered(DATA_LOST)
    if record.ending is None or record.ending.error is None or partition.generations.has_said(record):
        return None
    return _not_answered(record.ending)


def _at_once(partition: Partition, begun: _Begun) -> Response:
    """Wait until the answer is complete, and give it in one response. Raises Unavailable if the wait is ended."""
    wakeup = Wakeup()
    connection = _joined(partition, begun, wakeup)
    asker, records = connection.subscriber, partition.generations.records
    try:
        while True:
            wakeup.rung.clear()
            asker.go_live()  # before the state is read, so that no change after the reading is missed
            if records.states([begun.id]) != [RUNNING]:
                break
            if asker.reason not in (None, Reason.ENDED):  # usually the client has left, and nobody reads the error
                raise Unavailable(f"This request is not waited for any more: {asker.reason.value}.", retry_after=1)
            wakeup.rung.wait()
    finally:
        connection.leave()
    record = records.find(begun.id)
    return _not_answered(DATA_LOST) if record is None else _complete(partition, record)


def _complete(partition: Partition, record: Record) -> Response:
    """The response with an answer that has ended."""
    if record.ending is not None and record.ending.error is not None:
        return _not_answered(record.ending)
    answer = record.answer or exact_json.dumps(partition.generations.answer(record), lone=True)
    passed = {} if record.ending is None else record.ending.headers
    headers = passed | {"Cache-Control": "no-store"}
    return Response(answer, content_type="application/json", headers=headers)


# Clients of OpenAI's API retry by themselves after 409, 429 and 5xx; an answer that was cancelled must not be retried.
_STATUS: Final = {"upstream_error": 502, "timeout": 504, "cancelled": 499, "producer_lost": 503, "data_lost": 503}


def _not_answered(ending: Ending) -> Response:
    """The response for an answer that failed: the error response of the model's server if there is one, else ours, also
    where that server refuses this service's account."""
    if ending.refusal is not None and ending.refusal[0] in OPERATORS:
        headers = ending.headers | {"x-should-retry": "false"}  # clients of OpenAI's API would repeat it in vain
        return Response(ending.told(), 502, headers, content_type="application/json")
    if ending.refusal is not None and ending.refusal[0] >= 400:
        status, headers, body = ending.refusal
        return Response(body, status, ending.headers | passing(headers), content_type=media_type(headers, body))
    return Response(ending.told(), _STATUS[ending.state], ending.headers, content_type="application/json")
