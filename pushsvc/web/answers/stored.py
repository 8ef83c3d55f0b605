"""Stored completions: those asked for with `store: true` (OpenAI API reference, "Chat Completions")."""

from __future__ import annotations

import contextlib
import re
from typing import Any, Final

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import json_object
from pushsvc.errors import Invalid, NotFound
from pushsvc.events import exact_json
from pushsvc.llm.asked import CHAT, wrong_metadata
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.formats.kept_json import long_json
from pushsvc.llm.kept import Stored
from pushsvc.llm.store import MOST_PAGE_BYTES
from pushsvc.partition import Partition
from pushsvc.web.answers import paging
from pushsvc.web.answers.giving import document
from pushsvc.web.http.current import call, service

MOST_BODY_BYTES: Final = 65536
_FILTER: Final = re.compile(r"metadata\[(.{1,64})\]")

blueprint = Blueprint("stored", __name__, url_prefix="/v1/chat/completions")


@blueprint.get("")
def listed() -> ResponseReturnValue:
    """GET /v1/chat/completions: list the completions that the user had stored, oldest first; `model` and
    `metadata[key]` choose among them, `limit`, `after` and `order` page through them.

    Answers 200. Refuses: 400 for a parameter that is wrong, 401 without a good token.
    """
    partition, user = _user()
    size, backwards = paging.limit(), paging.order("asc") == "desc"
    wanted = {match[1]: value for name, value in request.args.items() if (match := _FILTER.fullmatch(name))}
    found = [each for each in partition.kept.stored(user, CHAT) if _is_wanted(each, wanted)]
    found = found if backwards else found[::-1]
    if request.args.get("after"):
        found = found[paging.after([_name(partition, each) for each in found]) :]
    data: list[Json] = []
    taken = 0
    last = min(size, len(found))
    for number, each in enumerate(found[:size]):
        with contextlib.suppress(NotFound):  # it is deleted just now
            data.append(_whole(partition, each))
            taken += len(exact_json.dumps(data[-1], lone=True))
        if taken > MOST_PAGE_BYTES:
            last = number + 1
            break
    return _json(paging.shaped(data, more=len(found) > last))


def _is_wanted(each: Stored, metadata: dict[str, str]) -> bool:
    model = request.args.get("model")
    return model in (None, "", each.model) and metadata.items() <= each.asked.metadata.items()


def _user() -> tuple[Partition, str]:
    user = identify(call()).need_user()
    return service().partition_of(user), user


def _name(partition: Partition, each: Stored) -> str:
    """The id of a completion, which its model's server gave it."""
    if each.name is not None:
        return each.name
    record = partition.generations.records.find(each.id)
    if record is None:  # it is deleted just now
        return each.id
    name = str(partition.generations.answer(record).get("id") or each.id)
    partition.kept.name(each.id, name)
    return name


def _find(name: str) -> tuple[Partition, Stored]:
    """The user's newest stored completion with this id, or of the generation with this id. Raises NotFound."""
    partition, user = _user()
    for each in partition.kept.stored(user, CHAT):
        if name in (each.id, _name(partition, each)):
            return partition, each
    raise NotFound(f"There is no stored completion {name[:80]!r}.")


def _whole(partition: Partition, each: Stored) -> Json:
    whole = partition.generations.answer(partition.generations.records.get(each.id))
    return whole | {"id": whole.get("id") or each.id, "metadata": dict(each.asked.metadata)}


def _json(value: Json) -> Response:
    return document(exact_json.dumps(value, lone=True))


@blueprint.get("/<name>")
def retrieve(name: str) -> ResponseReturnValue:
    """GET /v1/chat/completions/<id>: give a stored completion.

    Answers 200. Refuses: 401 without a good token, 404 for one that does not exist, is not stored or not complete, or
    is another user's.
    """
    return _json(_whole(*_find(name)))


@blueprint.get("/<name>/messages")
def messages(name: str) -> ResponseReturnValue:
    """GET /v1/chat/completions/<id>/messages: list the messages that it answers, oldest first; `limit`, `after` and
    `order` page through them.

    Answers 200. Refuses as GET /v1/chat/completions/<id> does; 400 for a parameter that is wrong.
    """
    partition, each = _find(name)
    asked = long_json(partition.generations.records.request(each.id))["messages"]
    shown = _name(partition, each)
    return _json(paging.page([_told(message, f"{shown}-{number}") for number, message in enumerate(asked)], "asc"))


def _told(message: Json, name: str) -> Json:
    parts = message.get("content") if isinstance(message.get("content"), list) else None
    content: Any = message.get("content") if parts is None else openai.said_in(message)
    return message | {"id": name, "content": content, "content_parts": parts}


@blueprint.post("/<name>")
def update(name: str) -> ResponseReturnValue:
    """POST /v1/chat/completions/<id>: replace the metadata of a stored completion.

    Answers 200 with the completion. Refuses as GET does; 400 for metadata that is wrong.
    """
    partition, each = _find(name)
    given = json_object(call(), {"metadata"}, MOST_BODY_BYTES, f"user:{identify(call()).need_user()}")
    metadata = given.get("metadata") or {}
    if wrong := wrong_metadata(metadata):
        raise Invalid.field("metadata", wrong)
    partition.kept.describe(each.id, metadata)
    return _json(_whole(partition, each._replace(asked=each.asked._replace(metadata=metadata))))


@blueprint.delete("/<name>")
def delete(name: str) -> ResponseReturnValue:
    """DELETE /v1/chat/completions/<id>: delete a stored completion, and the generation that it is.

    Answers 200. Refuses as GET does.
    """
    partition, each = _find(name)
    shown = _name(partition, each)
    record = partition.generations.records.get(each.id)
    partition.generations.keeping.settle(record)
    partition.kept.delete(record)
    return {"id": shown, "object": "chat.completion.deleted", "deleted": True}
