"""/v1/generations: listen to an answer while it is made or later, describe, list and cancel answers."""

from __future__ import annotations

from typing import Final

import orjson
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pushsvc.calls.arguments import number
from pushsvc.calls.credentials import identify
from pushsvc.calls.listening import listen, news, record_for
from pushsvc.errors import Invalid
from pushsvc.events import exact_json
from pushsvc.llm.formats import members, openai
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
    """GET /v1/generations/<id>: describe a generation, with its question and its text so far.

    Answers 200. Refuses: 401 without a good token, 404 for one that does not exist or is another user's.
    """
    partition = service().partition_of(generation_id)
    return _json(_described(partition, record_for(identify(call()), partition, generation_id)))


@blueprint.delete("/generations/<generation_id>")
def cancel(generation_id: str) -> ResponseReturnValue:
    """DELETE /v1/generations/<id>: cancel a generation, if it runs; its listeners are told.

    Answers 200 with the generation's new state. Refuses as GET does.
    """
    partition = service().partition_of(generation_id)
    record = record_for(identify(call()), partition, generation_id)
    if record.ending is None:
        partition.generations.cancel(record)
    return _json(_described(partition, partition.generations.records.get(generation_id)))


@blueprint.get("/generations")
def kept() -> ResponseReturnValue:
    """GET /v1/generations: list the user's generations, newest first, in the shape of OpenAI's lists; `limit` and
    `after` page through them.

    Answers 200. Refuses: 400 for a parameter that is wrong, 401 without a good token.
    """
    user = identify(call()).need_user()
    partition = service().partition_of(user)
    limit = number(call(), "limit", DEFAULT_LIMIT, 1, MOST_LIMIT)
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
