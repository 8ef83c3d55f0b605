"""/v1/ui/chat: what the AI SDK's `useChat` asks and hears (ai-sdk.dev, "Stream Protocols")."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import read_json
from pushsvc.calls.turn import ClientTurn
from pushsvc.errors import Conflict
from pushsvc.events import exact_json
from pushsvc.llm import request as question
from pushsvc.llm.asked import UI, Asked
from pushsvc.llm.dialects.ui import request as wishes
from pushsvc.llm.dialects.ui.stream import HEADERS, UIMessageStream
from pushsvc.llm.listening import ANSWER_TO_PAGE
from pushsvc.llm.record import Record
from pushsvc.llm.request import MOST_VALUES, Question
from pushsvc.partition import Partition
from pushsvc.web.answers.asking import asker, begin, parse, repeat_key
from pushsvc.web.answers.giving import Begun, Voice, follow, repeated, streamed
from pushsvc.web.http.current import call, service

blueprint = Blueprint("ui", __name__, url_prefix="/v1/ui/chat")

_MESSAGE: Final = "message"  # the member with the id of the message that the answer is


@blueprint.post("")
def ask() -> ResponseReturnValue:
    """POST /v1/ui/chat: ask a model, as the AI SDK's `DefaultChatTransport` does. Members beside the chat's id and its
    messages are those of a question of chat completions. A chat has one answer at a time: one that is being made is
    cancelled, unless the request has `interrupt: false`.

    Answers 200 with the UI message stream. Refuses as POST /v1/chat/completions does; 409 if the chat has an answer
    that is being made, and is not to be interrupted.
    """
    partition, user = asker()
    asked, key, (name, generation) = begin(partition, user, partial(_question, partition, user))
    kept = asked.asked if generation is not None else partition.generations.records.get(name).asked
    voice = _voice(name, kept)
    if generation is not None:
        begun = Begun(name, user, generation, asked.cancels, again=key is not None, voice=voice)
        response = streamed(partition, begun)
    else:
        response = repeated(partition, partition.generations.records.get(name), stream=True, voice=voice)
    response.headers["X-Generation-Id"] = name
    return response


def _question(partition: Partition, user: str, body: bytes) -> Question:
    question.check_size(body, ClientTurn(call()).yield_if_over)
    wish = wishes.read(read_json(exact_json.loads, body, MOST_VALUES))
    asked = parse(wish.body)
    key = repeat_key(body, whole=not asked.stream)
    if not wish.interrupt and not partition.kept.repeated(user, key) and partition.kept.running(user, wish.chat):
        raise Conflict("This chat has an answer that is being made.")
    members = {} if wish.answers is None else {_MESSAGE: wish.answers}
    return replace(asked, asked=Asked(UI, conversation=wish.chat, members=members), interrupts=True)


def _voice(name: str, kept: Asked) -> Voice:
    message = kept.members.get(_MESSAGE) or f"msg_{name.removeprefix('gen_')}"
    return Voice(partial(UIMessageStream, name, message), headers=HEADERS, kind=ANSWER_TO_PAGE)


def _running(chat: str) -> tuple[Partition, list[Record]]:
    """The answers of the user's chat that are being made; usually one, or none."""
    user = identify(call()).need_user()
    partition = service().partition_of(user)
    return partition, partition.kept.running(user, chat)


@blueprint.get("/<chat>/stream")
def resume(chat: str) -> ResponseReturnValue:
    """GET /v1/ui/chat/<chat>/stream: the answer of a chat that is being made, from its beginning, then live; with
    `useChat({ resume: true })` each page that opens asks for it.

    Answers 200 with the UI message stream; 204 if none is being made. Refuses: 401 without a good token, 429 and 503 as
    GET /v1/generations/<id>/events does.
    """
    partition, running = _running(chat)
    if not running:
        return Response(status=204)
    return follow(partition, running[-1], _voice(running[-1].id, running[-1].asked))


@blueprint.delete("/<chat>/stream")
def stop(chat: str) -> ResponseReturnValue:
    """DELETE /v1/ui/chat/<chat>/stream: cancel the answer of a chat that is being made; all its pages are told. A page
    that only closes its stream, as `useChat`'s `stop` does, cannot be told from one that will resume.

    Answers 204, also if none is being made. Refuses: 401 without a good token.
    """
    partition, running = _running(chat)
    for each in running:
        partition.generations.cancel(each)
    return Response(status=204)
