"""An answer that is asked whole is asked of the model as a stream, and comes out as the engine's own whole answer."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.answers import cancel, ended, running
from tests.support.models.answers import state as state_of
from tests.support.models.chunks import DONE, STOP, kept
from tests.support.models.completions import ask, data, text
from tests.support.models.model import HEAD, Conversation, Model, event
from tests.support.stack import Stack

USAGE = {"prompt_tokens": 21, "completion_tokens": 2, "total_tokens": 23}
COUNT = event(None, usage=USAGE, timings={"predicted_n": 2}, choices=[])


def streaming(conversation: Conversation) -> None:
    """Answers as llama.cpp does: with the count in a chunk of its own, if that is asked for."""
    assert conversation.json["stream_options"] == {"include_usage": True}
    conversation.send(HEAD).chunk(event("a") + event("b") + STOP + COUNT + DONE).send(b"0\r\n\r\n")


def test_a_whole_answer_is_made_of_a_stream(answering: Stack, user: str, model: Model) -> None:
    model.script = streaming
    own = f"model-of-{user}"  # other tests have shown whole answers of other models, whose shape is remembered
    answer = ask(answering, user, temperature=1.0, n=1, model=own)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake", "usage": USAGE,
        "timings": {"predicted_n": 2},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": "stop"}],
    }  # fmt: skip
    assert model.asked().json["stream"] is True
    assert b'"temperature":1.0' in model.asked().body.replace(b": ", b":")
    assert kept(answering, user, answer)["usage"] == USAGE


@pytest.mark.parametrize("members", [{"audio": {"format": "wav"}}, {"stream_options": {}}, {"something": 1}])
def test_what_was_not_compared_is_asked_whole(answering: Stack, user: str, model: Model, members: Any) -> None:
    model.script = lambda c: c.answer("200 OK", whole("a"))
    assert ask(answering, user, **members).status_code == 200
    assert "stream" not in model.asked().json


def test_it_can_be_turned_off(shared: Start, user: str, model: Model) -> None:
    stack = shared(llm_base_url=model.url, llm_ask_streamed="off", workers=1)
    model.script = lambda c: c.answer("200 OK", whole("a"))
    assert ask(stack, user).content == whole("a")
    assert "stream" not in model.asked().json


def test_a_model_that_dies_leaves_its_text(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.send(HEAD).say("so far").close()
    answer = ask(answering, user)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_closed")
    assert kept(answering, user, answer)["text"] == "so far"


def test_a_cancel_reaches_the_model(answering: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.send(HEAD).say("one ").wait_for_hang_up()
    asking = threading.Thread(target=ask, args=(answering, user))
    asking.start()
    asked = model.asked()
    until(lambda: len(running(answering, user)) == 1, "the answer to be made")
    [only] = running(answering, user)
    until(lambda: state_of(answering, user, only)["text"] == "one ", "its text")
    cancel(answering, user, only)
    assert asked.hung_up.wait(15)
    asking.join(15)
    assert ended(answering, user, only)["state"] == "cancelled"


# Engines whose whole answers are not their chunks


def whole(content: str, **members: Any) -> bytes:
    """A whole answer as vLLM gives it: with members that have no value."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "tool_calls": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop", "stop_reason": None}
    value = {"id": "w", "object": "chat.completion", "created": 1, "model": "fake", "choices": [choice], "usage": USAGE}
    return json.dumps(value | {"prompt_logprobs": None} | members).encode()


NOTHING: list[Any] = [{"index": 0, "delta": {}}]  # as LiteLLM has it beside the count


def of_vllm(conversation: Conversation) -> None:
    if not conversation.json.get("stream"):
        conversation.answer("200 OK", whole("whole"))
        return
    usage = USAGE | {"details": {"x": 1}}
    first = event("", prompt_token_ids=None)
    count = event(None, usage=usage, choices=NOTHING)
    conversation.send(HEAD).chunk(first + event("a") + event("b") + STOP + count + DONE).send(b"0\r\n\r\n")


def test_the_shape_of_whole_answers_is_learned(shared: Start, user: str, model: Model) -> None:
    """Such an engine is asked whole once, and then streamed, with the same members as in that answer."""
    stack = shared(llm_base_url=model.url, workers=1)
    model.script = of_vllm
    first = ask(stack, user, model="v")
    assert first.content == whole("whole")
    assert [bool(each.json.get("stream")) for each in model.conversations] == [True, False]
    ask(stack, user, model="v")
    second = ask(stack, user, model="v")
    assert [bool(each.json.get("stream")) for each in model.conversations[2:]] == [True, True]
    assert second.json() == json.loads(whole("ab")) | {"id": "chatcmpl-1"}
    again = stack.get(f"/v1/generations/{second.headers['x-generation-id']}", stack.bearer(user)).json()
    assert again["text"] == "ab"
    ask(stack, user, model="v", n=2)  # gateways lose what ends one of several choices
    assert "stream" not in model.conversations[-1].json


def test_an_engine_that_streams_another_text_is_asked_whole(shared: Start, user: str, model: Model) -> None:
    stack = shared(llm_base_url=model.url, workers=1)

    def script(conversation: Conversation) -> None:
        if conversation.json.get("stream"):
            conversation.send(HEAD).chunk(event("a", system_fingerprint="") + STOP + DONE).send(b"0\r\n\r\n")
        else:
            conversation.answer("200 OK", whole("whole"))

    model.script = script
    for asked in (2, 3):
        assert ask(stack, user, model="t").content == whole("whole")
        assert len(model.conversations) == asked


REFUSALS = {
    "a stream": ("400 No", b'{"error":{"message":"you must be verified to stream this model","param":"stream"}}'),
    "something else": ("400 No", b'{"error":{"message":"the context is too long"}}'),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_an_engine_that_refuses_to_stream(shared: Start, user: str, model: Model, what: str) -> None:
    stack = shared(llm_base_url=model.url, workers=1)

    def script(conversation: Conversation) -> None:
        if what == "a stream" and not conversation.json.get("stream"):
            conversation.answer("200 OK", whole("whole"))
        else:
            conversation.answer(*REFUSALS[what])

    model.script = script
    answer = ask(stack, user, model=f"r {what}")
    assert answer.content == (whole("whole") if what == "a stream" else REFUSALS[what][1])
    assert len(model.conversations) == 2


def test_an_error_in_a_stream_is_asked_for_its_status(answering: Stack, user: str, model: Model) -> None:
    """Some engines refuse a stream in the stream, and a whole answer with a status."""
    refusal = b'{"error":{"message":"a bad schema","code":400}}'

    def script(conversation: Conversation) -> None:
        if conversation.json.get("stream"):
            conversation.send(HEAD).chunk(event("") + b"data: " + refusal + b"\n\n").send(b"0\r\n\r\n")
        else:
            conversation.answer("400 Bad", refusal)

    model.script = script
    answer = ask(answering, user)
    assert (answer.status_code, answer.content) == (400, refusal)
    model.script = lambda c: c.send(HEAD).chunk(event("a") + b"data: " + refusal + b"\n\n").send(b"0\r\n\r\n")
    assert ask(answering, user).status_code == 502  # some of it came
    assert text(data(ask(answering, user, stream=True).text)) == "a"
