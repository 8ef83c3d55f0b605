"""Gives the answer to the request that asked for it: as a stream or when it is complete, in the words of its API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import gevent.event
from flask import Response

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.access.seats import Seat, listeners_of
from pushsvc.calls.content_coding import coded_stream, coding_headers
from pushsvc.calls.refusing import STREAM_HEADERS
from pushsvc.calls.streams import Connection, make_transport, stream
from pushsvc.delivery.endings import Reason, StreamKind
from pushsvc.delivery.transports.base import Transport
from pushsvc.delivery.transports.wakeup import Wakeup
from pushsvc.errors import Unavailable
from pushsvc.events import exact_json, sse
from pushsvc.events.event import BEGINNING
from pushsvc.llm.dialects.translating import Translator, translated
from pushsvc.llm.formats.continuing import is_continued
from pushsvc.llm.generation import Generation
from pushsvc.llm.listening import ANSWER_TO_REQUESTER, answer_subscriber
from pushsvc.llm.models.base import media_type, passing
from pushsvc.llm.outcome import CANCELLED, DATA_LOST, OPERATORS, RUNNING, Ending
from pushsvc.llm.record import Record
from pushsvc.partition import Partition
from pushsvc.web.http.current import call, respond, service

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Voice(NamedTuple):
    """The form in which an answer is told to the clients of one API. `translator`: makes that of a stream, None: the
    log has its words; `document`: the answer that has ended, in one piece, None: a completion; `headers`: of its
    streams; `kind`: see StreamKind."""

    translator: Callable[[], Translator] | None = None
    document: Callable[[Record], bytes] | None = None
    headers: Mapping[str, str] = _NO_HEADERS
    kind: StreamKind = ANSWER_TO_REQUESTER


CHAT: Final = Voice()


class Begun(NamedTuple):
    """The answer to a request of this user. `generation`: set if this request began it. `cancels`: the answer is
    cancelled when nobody listens any more. `again`: the client can ask for the answer again, with the same key.
    `voice`: see Voice."""

    id: str
    user: str
    generation: Generation | None
    cancels: bool
    again: bool = True
    voice: Voice = CHAT


def repeated(partition: Partition, record: Record, *, stream: bool, voice: Voice = CHAT) -> Response:
    """Answer a repeated request with the answer to the first one of the same key, from its beginning."""
    if record.ending is None:
        begun = Begun(record.id, record.user, None, record.cancels, voice=voice)
        return streamed(partition, begun) if stream else at_once(partition, begun)
    if not stream:
        return _complete(partition, record, voice)
    refusal = _refusal(partition, record)
    if refusal is not None:
        return refusal
    headers = record.ending.headers | STREAM_HEADERS | dict(coding_headers(call())) | dict(voice.headers)
    return Response(coded_stream(call(), retold(partition, record.id, voice)), headers=headers)


def retold(partition: Partition, generation_id: str, voice: Voice) -> bytes:
    """The stream of an answer that has ended, from its beginning."""
    said = partition.generations.records.said(generation_id)
    if voice.translator is None:
        return b"".join([event.wire for event in said if not is_continued(event.wire)])
    translator = voice.translator()
    return translator.begin() + translated(translator, said)


def streamed(partition: Partition, begun: Begun) -> Response:
    """Stream the answer as it is made; if the model refuses, give its refusal."""
    translator = None if begun.voice.translator is None else begun.voice.translator()
    chunks = service().settings.llm_continue
    transport = make_transport(call(), alone=True, translator=translator, chunks=chunks)
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
        head = sse.HEARTBEAT if translator is None else sse.HEARTBEAT + translator.begin()
        response = stream(call(), partition.hub, connection, transport, head)
        response.headers.extend(begun.voice.headers.items())
        if generation is not None:
            response.headers.extend(generation.headers.items())
        return respond(response)


def follow(partition: Partition, record: Record, voice: Voice) -> Response:
    """Stream an answer that is being made to another than who asked, from its beginning."""
    assert voice.translator is not None
    translator = voice.translator()
    transport = make_transport(call(), alone=True, translator=translator)
    with _joined(partition, Begun(record.id, record.user, None, record.cancels, voice=voice), transport) as connection:
        response = stream(call(), partition.hub, connection, transport, sse.HEARTBEAT + translator.begin())
        response.headers.extend(voice.headers.items())
        return respond(response)


def _joined(
    partition: Partition, begun: Begun, transport: Transport, left: Callable[[], None] | None = None
) -> Connection:
    """Listen to the answer. Raises what Connection does; then an answer that nobody else can ask for is cancelled. Who
    asks once more is one of the user's listeners; who asks first has been counted as an answer."""
    generations = partition.generations
    left_for_good = generations.on_requester_left if begun.voice.translator is None else generations.on_listener_left
    on_leave = left_for_good if begun.cancels else None
    seat = None if begun.generation is not None else Seat(partition.presence, listeners_of(begun.user), on_leave)
    subscriber = answer_subscriber(
        begun.id,
        BEGINNING,
        transport,
        kind=begun.voice.kind,
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


def at_once(partition: Partition, begun: Begun) -> Response:
    """Wait until the answer is complete, and give it in one response. Raises Unavailable if the wait is ended."""
    wakeup = Wakeup(events=False)
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
    return _not_answered(DATA_LOST) if record is None else _complete(partition, record, begun.voice)


def _complete(partition: Partition, record: Record, voice: Voice) -> Response:
    """The response with an answer that has ended."""
    if voice.document is not None:
        refusal = _refusal(partition, record)
        return document(voice.document(record)) if refusal is None else refusal
    if record.ending is not None and record.ending.error is not None:
        return _not_answered(record.ending)
    answer = record.answer or exact_json.dumps(partition.generations.answer(record), lone=True)
    passed = {} if record.ending is None else record.ending.headers
    headers = passed | {"Cache-Control": "no-store"}
    return Response(answer, content_type="application/json", headers=headers)


def document(body: bytes) -> Response:
    """A response with a document in JSON."""
    return Response(body, content_type="application/json", headers={"Cache-Control": "no-store"})


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
