"""The end of a complete answer, whatever follows it; and how long a model may be silent, which gives signs of life."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.models.chunks import DONE, STOP, kept, said
from tests.support.models.completions import ask, data, reset
from tests.support.models.model import HEAD, Conversation, Model, event
from tests.support.stack import Stack


def pings(conversation: Conversation) -> None:
    while not conversation.hung_up.wait(0.1):
        conversation.chunk(b": ping\n\n").chunk(b"data:\n\n")


AFTERWARDS: dict[str, Callable[[Conversation], object]] = {
    "the end of the body": lambda c: c.send(b"0\r\n\r\n"),
    "pings for ever": pings,
    "silence": lambda c: c.wait_for_hang_up(),
    "a reset": reset,
    "a short body": Conversation.close,
    "broken framing": lambda c: c.send(b"zzz\r\n"),
    "nonsense": lambda c: c.chunk(b"data: {nonsense\n\n"),
    "an error": lambda c: c.chunk(b'data: {"error": {"message": "late"}}\n\n'),
    "usage": lambda c: c.chunk(event(None, choices=[], usage={"total_tokens": 7})),
    "the mark, and a reset": lambda c: reset(c.chunk(DONE)),
}


@pytest.mark.parametrize("what", AFTERWARDS)
def test_after_the_last_reason_it_is_complete(answering: Stack, user: str, model: Model, what: str) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).chunk(event("all of it") + STOP)
        AFTERWARDS[what](conversation)

    model.script = script
    assert said(answering, user, stream=True) == "all of it"


def test_usage_that_comes_a_moment_later(answering: Stack, user: str, model: Model) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).say("a").chunk(STOP)
        conversation.hung_up.wait(0.3)
        conversation.chunk(event(None, choices=[], usage={"total_tokens": 7}))

    model.script = script
    assert kept(answering, user, ask(answering, user, stream=True))["usage"] == {"total_tokens": 7}


def test_two_choices_are_complete_when_both_are(answering: Stack, user: str, model: Model) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).say("a").chunk(STOP)
        for number in range(30):
            conversation.hung_up.wait(0.05)
            conversation.say(f"{number},", index=1)
        conversation.chunk(event(None, index=1, finish_reason="length"))

    model.script = script
    choices = kept(answering, user, ask(answering, user, stream=True, n=2))["choices"]
    whole = "".join(f"{number}," for number in range(30))
    assert [each["message"]["content"] for each in choices] == ["a", whole]
    assert [each["finish_reason"] for each in choices] == ["stop", "length"]


@pytest.mark.parametrize("how", ["cut", "whole"])
def test_the_mark_of_the_end_without_a_reason(answering: Stack, user: str, model: Model, how: str) -> None:
    """The answer is complete if its body comes to its end. A body that breaks off is that of an interrupted engine."""

    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).chunk(event(None, choices=[{"index": 0, "delta": {"role": "assistant"}}]))
        conversation.say("a").chunk(DONE)
        conversation.close() if how == "cut" else conversation.send(b"0\r\n\r\n")

    model.script = script
    answer = ask(answering, user, stream=True)
    described = kept(answering, user, answer)
    assert (described["text"], described["finish_reason"]) == ("a", None)
    if how == "whole":
        assert described["state"] == "completed"
    else:
        assert (described["state"], described["error"]["code"]) == ("upstream_error", "upstream_closed")
        assert data(answer.text)[-2]["error"]["code"] == "upstream_closed"


@pytest.fixture(scope="module")
def impatient(_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(
        tmp_path_factory.mktemp("lenient"), llm_base_url=_model.url, workers=1,
        llm_first_token_seconds=2.5, llm_between_tokens_seconds=1, llm_total_seconds=8,
    )  # fmt: skip
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


SIGNS = [
    b": keep-alive\n\n",
    b":\n",
    b"data:\n\n",
    b"event: ping\n\n",
    event(None, choices=[], prompt_progress={"total": 3}),
]


def test_signs_of_life(impatient: Stack, user: str, model: Model) -> None:
    """They come for longer than the model may be silent, before the first token and after it. All kinds are tried at
    once, as each takes long."""

    def script(conversation: Conversation) -> None:
        sign = SIGNS[int(conversation.json["messages"][0]["content"])]
        conversation.send(HEAD)
        for _ in range(14):
            conversation.hung_up.wait(0.2)
            conversation.chunk(sign)
        conversation.say("a")
        for _ in range(6):
            conversation.hung_up.wait(0.2)
            conversation.chunk(sign)
        conversation.say("b").done()

    def answer(number: int) -> str:
        question = [{"role": "user", "content": str(number)}]
        return said(impatient, f"{user}-{number}", stream=True, messages=question)

    model.script = script
    with ThreadPoolExecutor(len(SIGNS)) as asking:
        answers = dict(zip(SIGNS, asking.map(answer, range(len(SIGNS))), strict=True))
    assert answers == dict.fromkeys(SIGNS, "ab")


@pytest.mark.parametrize("members", [{"delta": {"role": "assistant"}}, {"delta": {"content": ""}}, {}])
def test_what_carries_no_token_is_not_the_first(impatient: Stack, user: str, model: Model, members: Any) -> None:
    choices = [{"index": 0} | members] if members else []

    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).chunk(event(None, choices=choices, usage=None if members else {"total_tokens": 1}))
        conversation.hung_up.wait(1.5)
        conversation.say("a").done()

    model.script = script
    assert said(impatient, user, stream=True) == "a"


def test_the_total_holds_all_the_same(impatient: Stack, user: str, model: Model) -> None:
    model.script = lambda c: pings(c.send(HEAD))
    answer = ask(impatient, user, stream=True)
    assert kept(impatient, user, answer)["error"]["code"] == "total_timeout"
