"""/v1/generations: listen to an answer while it is made or later, describe, list and cancel answers."""

from __future__ import annotations

from typing import Final

import orjson
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import choice, number
from pushsvc.calls.listening import listen, news, record_for
from pushsvc.errors import Invalid
from pushsvc.events import exact_json
from pushsvc.llm import request as question
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.record import Record
from pushsvc.partition import Partition
from pushsvc.web.http.current import call, respond, service
from pushsvc.web.http.links import link

DEFAULT_LIMIT: Final = 20
MOST_LIMIT: Final = 100

blueprint = Blueprint("generations", __name__, url_prefix="/v1")


@blueprint.get("/generations/<generation_id>/events")
def listen_to_answer(generation_id: str) -> ResponseReturnValue:
    """GET /v1/generations/<id>/events: see `calls.listening`."""
    return respond(listen(call(), generation_id))


@blueprint.get("/generations/events")
def listen_to_news() -> ResponseReturnValue:
    """GET /v1/generations/events: see `calls.listening`."""
    return respond(news(call()))


def answer_url(partition: Partition, generation_id: str) -> str:
    """The URL of an answer for an EventSource, which can send no token: a ticket in the URL opens this answer."""
    return link(f"/v1/generations/{generation_id}/events?ticket={partition.tickets.reading(generation_id)}")


@blueprint.get("/generations/<generation_id>")
def state(generation_id: str) -> ResponseReturnValue:
    """GET /v1/generations/<id>: describe a generation, with its text so far; with `include=messages` also its question.

    Answers 200. Refuses: 400 for another `include`, 401 without a good token, 404 for one that does not exist or is
    another user's.
    """
    partition = service().partition_of(generation_id)
    return _json(_described(partition, record_for(identify(call()), partition, generation_id), _includes_messages()))


@blueprint.delete("/generations/<generation_id>")
def cancel(generation_id: str) -> ResponseReturnValue:
    """DELETE /v1/generations/<id>: cancel a generation, if it runs; its listeners are told.

    Answers 200 with the generation's new state. Refuses as GET does.
    """
    partition = service().partition_of(generation_id)
    record, with_messages = record_for(identify(call()), partition, generation_id), _includes_messages()
    if record.ending is None:
        partition.generations.cancel(record)
    return _json(_described(partition, partition.generations.records.get(generation_id), with_messages))


@blueprint.get("/generations")
def kept() -> ResponseReturnValue:
    """GET /v1/generations: list the user's generations, newest first, in the shape of OpenAI's lists; `limit` and
    `after` page through them. `include` as for one.

    Answers 200. Refuses: 400 for a parameter that is wrong, 401 without a good token.
    """
    user = identify(call()).need_user()
    partition = service().partition_of(user)
    limit = number(call(), "limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
    after, with_messages = request.args.get("after") or None, _includes_messages()
    try:
        records, more = partition.generations.records.newest(user, limit, after, with_messages=with_messages)
    except LookupError as error:
        raise Invalid.field("after", "is none of your generations.") from error
    data = [_described(partition, record, with_messages) for record in records]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return _json({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more})


def _json(value: Json) -> Response:
    """A response in JSON. Numbers keep the digits with which the client or the model wrote them."""
    return Response(exact_json.dumps(value, lone=True), content_type="application/json")


def _includes_messages() -> bool:
    return choice(call(), "include", ("", "messages")) == "messages"


def _described(partition: Partition, record: Record, with_messages: bool) -> Json:
    whole, records = partition.generations.answer(record), partition.generations.records
    asked = records.request(record.id) if with_messages or record.about is None else b""
    about = record.about or question.about(asked)
    messages = {"messages": orjson.Fragment(asked[slice(*about.messages)])} if with_messages else {}
    return {
        "id": record.id,
        "object": "generation",
        "state": record.state,
        "url": answer_url(partition, record.id),
        "model": whole.get("model") or about.model or None,
        "created": record.created // 1000,
        "seconds": None if record.ended is None else (record.ended - record.created) / 1000,
        **messages,  # unparsed: numbers keep the digits with which the client wrote them
        "text": openai.text(whole),
        "choices": whole.get("choices") or [],
        "finish_reason": openai.finish_reason(whole),
        "usage": openai.usage(whole, about.prompt),
        "continued": record.continued,
        "error": None if record.ending is None else record.ending.error,
    }
