"""/v1/responses: OpenAI's Responses API (API reference, "Responses"). A response is a generation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import choice, number, read_json
from pushsvc.calls.content_coding import coded_stream, coding_headers
from pushsvc.calls.refusing import STREAM_HEADERS
from pushsvc.calls.turn import ClientTurn
from pushsvc.errors import Conflict, Invalid
from pushsvc.events import exact_json
from pushsvc.llm import request as question
from pushsvc.llm.asked import Asked
from pushsvc.llm.dialects.responses import history
from pushsvc.llm.dialects.responses import request as wishes
from pushsvc.llm.dialects.responses.history import Responses
from pushsvc.llm.dialects.responses.native import NativeBody
from pushsvc.llm.dialects.translating import translated
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.listening import ANSWER_TRANSLATED
from pushsvc.llm.record import Record
from pushsvc.llm.request import MOST_VALUES, About, Question
from pushsvc.partition import Partition
from pushsvc.web.answers import paging
from pushsvc.web.answers.asking import MOST_BODY_BYTES, asker, begin, parse, repeat_key
from pushsvc.web.answers.giving import Begun, Voice, at_once, document, follow, repeated, retold, streamed
from pushsvc.web.http.current import call, service

MOST_NUMBER: Final = 10**8

blueprint = Blueprint("responses", __name__, url_prefix="/v1")


@blueprint.post("/responses")
def create() -> ResponseReturnValue:
    """POST /v1/responses: ask a model, as OpenAI's API has it (API reference, "Responses"): streamed, whole, or in the
    background. What the model's server, which speaks chat completions, has no counterpart for is refused by name.

    Answers 200 with the response, or with `stream: true` text/event-stream, whose events are numbered. Refuses as POST
    /v1/chat/completions does; 409 if the conversation has an answer that is being made, and is not to be interrupted.
    """
    partition, user = asker()
    responses = Responses(partition.generations, user, MOST_BODY_BYTES)
    wish: list[wishes.Request] = []

    def waits() -> bool:
        return not wish[0].stream and not wish[0].background

    def read(body: bytes) -> Question:
        wish.append(_read(body))
        if _native():
            return _native_question(responses, wish[0])
        responses.take(len(body))
        own = partition.kept.repeated(user, repeat_key(body, whole=waits()))
        return _question(responses, wish[0], [] if own else _earlier(partition, user, responses, wish[0]))

    asked, key, (name, generation) = begin(partition, user, read, whole=waits)
    streams = wish[0].stream
    kept = asked.asked if generation is not None else partition.generations.records.get(name).asked
    voice = _voice(responses, name, kept, asked.about.prompt)
    if wish[0].background and not streams:
        events = responses.events(name, kept)
        response = document(_json(events.value()))
    elif generation is not None:
        begun = Begun(name, user, generation, asked.cancels, again=True, voice=voice)
        response = streamed(partition, begun) if streams else at_once(partition, begun)
    else:
        response = repeated(partition, partition.generations.records.get(name), stream=streams, voice=voice)
    if key is not None and not key.given:  # the client has its answer, and does not retry
        partition.generations.records.forget_key(user, key)
    response.headers["X-Generation-Id"] = name
    return response


def _read(body: bytes) -> wishes.Request:
    anything = _native() or not service().settings.asks_a_server
    question.check_size(body, ClientTurn(call()).yield_if_over)
    return wishes.read(body, partial(read_json, exact_json.loads, values=MOST_VALUES), anything=anything)


def _earlier(partition: Partition, user: str, responses: Responses, wish: wishes.Request) -> list[Json]:
    """The messages that a question follows: those of the response before it, or else of its conversation. Raises
    Invalid, Conflict or TooLarge."""
    if wish.previous is not None:
        return responses.after(responses.previous(wish.previous))
    if not wish.conversation:
        return []
    if not wish.interrupt and partition.kept.running(user, wish.conversation):
        raise Conflict("This conversation has an answer that is being made; ask with `interrupt: true`.")
    last = partition.kept.last(user, wish.conversation)
    return [] if last is None else responses.after(last, running=True)


def _question(responses: Responses, wish: wishes.Request, earlier: list[Json]) -> Question:
    """The question of chat completions that a request is."""
    asked = parse(wishes.chat(wish, earlier, responses.items))
    kept = history.asked(wish, asked.about.model or "mock", native=False)
    interrupts = wish.interrupt and wish.previous is None
    return replace(asked, asked=kept, cancels=asked.cancels and not wish.background, interrupts=interrupts)


def _native() -> bool:
    settings = service().settings
    return settings.llm_responses == "passthrough" and bool(settings.asks_a_server)


def _native_question(responses: Responses, wish: wishes.Request) -> Question:
    model = service().settings.llm_model
    if model and not wish.given.get("model"):
        wish.given["model"] = model
    previous = None if wish.previous is None else responses.native_id(responses.previous(wish.previous))
    body = NativeBody(wishes.native(wish, previous))
    cancels = wish.given.get("on_disconnect") == "cancel" and not wish.background
    about = About(wish.given.get("model") or model, len(body) // 4, (0, len(body)))
    return Question(body, stream=True, cancels=cancels, about=about, asked=history.asked(wish, model, native=True))


def _voice(responses: Responses, name: str, kept: Asked, prompt: int) -> Voice:
    return Voice(
        partial(responses.events, name, kept, prompt=prompt),
        lambda record: _json(responses.described(record)),
        kind=ANSWER_TRANSLATED,
    )


def _json(value: Json) -> bytes:
    return exact_json.dumps(value, lone=True)


def _found(name: str) -> tuple[Partition, Responses, Record]:
    """A response of the caller. Raises NotFound."""
    user = identify(call()).need_user()
    partition = service().partition_of(user)
    responses = Responses(partition.generations, user)
    return partition, responses, responses.get(name)


@blueprint.get("/responses/<name>")
def retrieve(name: str) -> ResponseReturnValue:
    """GET /v1/responses/<id>: describe a response, which may still be made. With `stream=true` stream its events, those
    after number `starting_after` if that is given: what was told before comes with the same numbers, then the rest.

    Answers 200. Refuses: 400 for a parameter that is wrong, or a number that the response does not have, 401 without a
    good token, 404 for a response that does not exist, is not stored, or is another user's.
    """
    partition, responses, record = _found(name)
    if choice(call(), "stream", ("false", "true")) == "false":
        return document(_json(responses.described(record)))
    after = number(call(), "starting_after", -1, 0, MOST_NUMBER)
    prompt = 0 if record.about is None else record.about.prompt
    make = partial(responses.events, record.id, record.asked, prompt=prompt, after=after)
    if after >= 0:
        seen = responses.events(record.id, record.asked)
        _ = seen.begin(), translated(seen, partition.generations.records.said(record.id))
        if after >= seen.number:
            raise Invalid.field("starting_after", f"the response has no event {after} yet; its next is {seen.number}.")
    if record.ending is None:
        return follow(partition, record, Voice(make, kind=ANSWER_TRANSLATED))
    told = retold(partition, record.id, Voice(make))
    headers = STREAM_HEADERS | dict(coding_headers(call()))
    return Response(coded_stream(call(), told), headers=headers)


@blueprint.post("/responses/<name>/cancel")
def cancel(name: str) -> ResponseReturnValue:
    """POST /v1/responses/<id>/cancel: cancel a response, if it is being made.

    Answers 200 with the response. Refuses as GET does.
    """
    partition, responses, record = _found(name)
    if record.ending is None:
        partition.generations.cancel(record)
        record = responses.get(name)
    return document(_json(responses.described(record)))


@blueprint.delete("/responses/<name>")
def delete(name: str) -> ResponseReturnValue:
    """DELETE /v1/responses/<id>: delete a response; one that is being made is cancelled.

    Answers 200. Refuses as GET does.
    """
    partition, _, record = _found(name)
    if record.ending is None:
        partition.generations.cancel(record)
    partition.generations.keeping.settle(record)
    partition.kept.delete(record)
    return {"id": history.response_id(record.id), "object": "response", "deleted": True}


@blueprint.get("/responses/<name>/input_items")
def input_items(name: str) -> ResponseReturnValue:
    """GET /v1/responses/<id>/input_items: list what a response answers, newest first; `limit`, `after` and `order` page
    through it.

    Answers 200. Refuses as GET does.
    """
    _, responses, record = _found(name)
    items = responses.input_items(record)
    return document(_json(paging.page(items, "desc")))
