"""The count of tokens: the engine's own, for which the service asks, or an estimate that says that it is one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Start
from tests.support.models.answers import ended
from tests.support.models.chunks import DONE, STOP, kept
from tests.support.models.completions import ask, data, text
from tests.support.models.model import HEAD, Conversation, Model, event
from tests.support.stack import Stack

COUNT = b'data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":21,"completion_tokens":200.0,"x":1e0}}\n\n'
USAGE = {"prompt_tokens": 21, "completion_tokens": 200, "x": 1}


def counting(conversation: Conversation) -> None:
    """Answer as OpenAI's API does: the count comes only where it is asked for, and all other chunks have a null."""
    asked = (conversation.json.get("stream_options") or {}).get("include_usage")
    null: dict[str, Any] = {"usage": None} if asked else {}
    conversation.send(HEAD).chunk(event("a", **null)).chunk(event("b", **null))
    conversation.chunk(event(None, finish_reason="stop", **null))
    if asked:
        conversation.chunk(COUNT)
    conversation.chunk(DONE).send(b"0\r\n\r\n")


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_obfuscation": False}])
def test_the_count_is_asked_for_and_kept_from_who_did_not_ask(
    answering: Stack, user: str, model: Model, options: dict[str, Any] | None
) -> None:
    model.script = counting
    answer = ask(answering, user, stream=True, stream_options=options)
    assert text(data(answer.text)) == "ab"
    assert "usage" not in answer.text
    assert model.asked().json["stream_options"] == (options or {}) | {"include_usage": True}
    assert kept(answering, user, answer)["usage"] == USAGE
    resumed = answering.get(f"/v1/generations/{answer.headers['x-generation-id']}/events", answering.bearer(user))
    assert "usage" not in resumed.text


def test_who_asks_for_the_count_gets_it_as_it_came(answering: Stack, user: str, model: Model) -> None:
    model.script = counting
    answer = ask(answering, user, stream=True, stream_options={"include_usage": True})
    assert COUNT.decode() in answer.text
    assert '"usage": null' in answer.text
    assert kept(answering, user, answer)["usage"] == USAGE


REFUSALS = [
    ("400 No", b'{"error":{"message":"Unrecognized request argument supplied: stream_options"}}'),
    ("422 No", b'{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}'),
    ("500 Oh", b"Unexpected fields in the request: {'stream_options'}"),
    ("400 No", b'{"error":{"message":"an unknown field"}}'),
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_an_engine_that_refuses_the_wish_is_asked_again_once(
    shared: Start, user: str, model: Model, refusal: tuple[str, bytes]
) -> None:
    stack = shared(llm_base_url=model.url, workers=1)
    name = f"m{REFUSALS.index(refusal)}"

    def script(conversation: Conversation) -> None:
        if "stream_options" in conversation.json:
            conversation.answer(*refusal)
        else:
            counting(conversation)

    model.script = script
    for asked in (2, 3):
        answer = ask(stack, user, stream=True, model=name)
        assert text(data(answer.text)) == "ab"
        assert len(model.conversations) == asked  # from then on it is remembered
        assert kept(stack, user, answer)["usage"]["estimated"] is True
    mine = ask(stack, user, stream=True, model=name, stream_options={"include_usage": True})
    assert (mine.status_code, mine.content) == (int(refusal[0][:3]), refusal[1])


def test_a_refusal_for_another_reason_stands(answering: Stack, user: str, model: Model) -> None:
    model.script = counting
    for number in range(4):  # on all workers
        ask(answering, user, stream=True, model="another", seed=number)
    model.script = lambda c: c.answer("400 No", b'{"error":{"message":"a bad temperature"}}')
    assert ask(answering, user, stream=True, model="yet-another").status_code == 400
    assert len(model.conversations) == 6  # as nothing was known of this model
    model.script = lambda c: c.answer("429 No", b"{}")
    assert ask(answering, user, stream=True, model="yet-another").status_code == 429
    assert len(model.conversations) == 7


def test_the_count_in_llama_cpp_s_timings(answering: Stack, user: str, model: Model) -> None:
    timings = {"prompt_n": 6, "cache_n": 15, "predicted_n": 200, "predicted_ms": 1.5}
    last = event(None, finish_reason="stop", timings=timings)
    model.script = lambda c: c.send(HEAD).say("a").chunk(last).chunk(DONE).send(b"0\r\n\r\n")
    answer = ask(answering, user, stream=True)
    usage = {"prompt_tokens": 21, "completion_tokens": 200, "total_tokens": 221}
    assert kept(answering, user, answer)["usage"] == usage


def test_an_estimate_counts_thoughts(answering: Stack, user: str, model: Model) -> None:
    thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "x" * 400}, "finish_reason": None}]}
    chunks = b"data: " + json.dumps(thought).encode() + b"\n\n" + STOP + DONE
    model.script = lambda c: c.send(HEAD).chunk(chunks).send(b"0\r\n\r\n")
    usage = kept(answering, user, ask(answering, user, stream=True))["usage"]
    assert (usage["completion_tokens"], usage["estimated"]) == (100, True)


# A model that is being loaded


LOADING = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'


def test_a_model_that_is_loading_is_asked_again(answering: Stack, user: str, model: Model) -> None:
    """Whoever waits for it hears comments meanwhile."""

    def script(conversation: Conversation) -> None:
        if len(model.conversations) < 3:
            conversation.answer("503 Unavailable", LOADING)
        else:
            counting(conversation)

    model.script = script
    answer = ask(answering, user, stream=True)
    assert answer.status_code == 200
    assert text(data(answer.text)) == "ab"
    assert len(model.conversations) == 3
    assert answer.text.startswith(":\n")


def test_a_model_that_loads_for_too_long(shared: Start, user: str, model: Model) -> None:
    stack = shared(llm_base_url=model.url, llm_first_token_seconds=1, workers=1)
    model.script = lambda c: c.answer("503 Unavailable", LOADING)
    answer = ask(stack, user, stream=True)
    assert (answer.status_code, answer.content) == (503, LOADING)
    assert len(model.conversations) == 2
    generation = ended(stack, user, answer.headers["x-generation-id"])
    assert generation["error"]["status"] == 503
    model.script = lambda c: c.answer("503 Unavailable", b'{"error":{"message":"overloaded"}}')
    assert ask(stack, user, stream=True).status_code == 503
    assert len(model.conversations) == 3
