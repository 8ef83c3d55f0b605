"""POST /v1/chat/completions and POST /v1/generations: ask a model a question. The response is the answer, as a stream
or when it is complete, or the URL at which to listen to it."""

from __future__ import annotations

from functools import partial

from flask import Blueprint
from flask.typing import ResponseReturnValue

from pushsvc.web.answers.asking import asker, begin, parse
from pushsvc.web.answers.generations import answer_url
from pushsvc.web.answers.giving import Begun, at_once, repeated, streamed

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
    partition, user = asker()
    asked, key, (generation_id, generation) = begin(partition, user, parse)
    if generation is not None:
        begun = Begun(generation_id, user, generation, asked.cancels, again=key is not None and key.given)
        response = streamed(partition, begun) if asked.stream else at_once(partition, begun)
    else:
        response = repeated(partition, partition.generations.records.get(generation_id), stream=asked.stream)
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
    partition, user = asker()
    _, _, (generation_id, _) = begin(partition, user, partial(parse, stream=True))
    url = answer_url(partition, generation_id)
    return {"id": generation_id, "url": url}, 202, {"X-Generation-Id": generation_id}
