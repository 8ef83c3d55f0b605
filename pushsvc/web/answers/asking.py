"""Takes a question, within its user's rate, and has a model answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from flask import Response, after_this_request, request

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import json_body
from pushsvc.calls.turn import ClientTurn
from pushsvc.events.publication import checked_key
from pushsvc.llm import request as question
from pushsvc.llm.budgeting import headers as headers_of
from pushsvc.llm.generation import Generation
from pushsvc.llm.repeats import RepeatKey, key_of
from pushsvc.llm.request import Question
from pushsvc.partition import Partition
from pushsvc.web.http.current import call, service

MOST_BODY_BYTES: Final = 8 * 2**20  # of a question; it is kept with the answer
_SHORT_BYTES: Final = 2**13  # of a question that waits for no turn

_COPIES: Final = 6  # of a question in the worker's memory, from its bytes to those that are sent to Redis

Begin = tuple[Question, RepeatKey | None, tuple[str, Generation | None]]


def asker() -> tuple[Partition, str]:
    """Find who asks, and the partition that has the answers. Raises Unavailable if this worker takes no more
    connections."""
    svc = service()
    user = identify(call()).need_user()
    svc.capacity.check()
    return svc.partition_of(user), user


def parse(body: bytes, *, stream: bool | None = None) -> Question:
    """Check a question of chat completions; see question.parse."""
    settings, turn = service().settings, ClientTurn(call())
    if len(body) > _SHORT_BYTES:
        turn.begin()
    pause, ask_streamed = turn.yield_if_over, settings.llm_ask_streamed and settings.asks_a_server
    return question.parse(body, model=settings.llm_model, stream=stream, ask_streamed=ask_streamed, pause=pause)


def begin(
    partition: Partition, user: str, read: Callable[[bytes], Question], *, whole: Callable[[], bool] | None = None
) -> Begin:
    """Read the question, within the user's rate, and begin the generation. `read`: makes the question of the request's
    body; `whole`: whether the answer is to come in one piece, None: unless a stream was asked for. Raises
    TooManyRequests before the question is read, what is wrong with the question, or as Generations.begin does."""
    checked_key(request.headers.get("Idempotency-Key"), "Idempotency-Key")
    with partition.asks.counting(user) as counted:
        counted()
        with json_body(call(), MOST_BODY_BYTES, f"user:{user}", _COPIES) as body:
            asked = read(body)
            key = repeat_key(body, whole=not asked.stream if whole is None else whole())
            begun, headers = _begun(partition, user, asked, key)
            after_this_request(partial(_standing, headers))
            return asked, key, begun


def repeat_key(body: bytes, *, whole: bool) -> RepeatKey | None:
    """The key of the question that this request asks; see key_of."""
    given = checked_key(request.headers.get("Idempotency-Key"), "Idempotency-Key")
    return key_of(given, body, whole=whole, retries=request.headers.get("X-Stainless-Retry-Count", ""))


def _begun(
    partition: Partition, user: str, asked: Question, key: RepeatKey | None
) -> tuple[tuple[str, Generation | None], Mapping[str, str]]:
    """Begin the generation, within the budgets, and interrupt what it is to interrupt; a question that is asked once
    more does neither. With it give the headers that say how the caller stands."""
    identity = identify(call())
    known = partition.kept.repeated(user, key)
    if known is not None:
        return (known, None), headers_of(partition.budgeting.standings(identity, asked.about.model))
    with partition.budgeting.reserving(identity, asked) as reserved:
        name, generation = partition.generations.begin(asked, user, key, reserved.fields())
    if generation is None:
        reserved.give_back()
    elif asked.interrupts:
        _interrupt(partition, user, asked.asked.conversation, name)
    return (name, generation), reserved.headers


def _interrupt(partition: Partition, user: str, conversation: str, but: str) -> None:
    """Cancel what is made in a conversation, but for the newest answer."""
    for each in partition.kept.running(user, conversation) if conversation else ():
        if each.id != but:
            partition.generations.cancel(each)


def _standing(headers: Mapping[str, str], response: Response) -> Response:
    """Say how the caller stands, over what the model's server says of this service's own account."""
    for name, value in headers.items():
        response.headers[name] = value
    return response
