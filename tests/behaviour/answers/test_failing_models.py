"""Every way in which a model can fail, and what the client is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.conftest import Start
from tests.support.models.completions import ASK, DEEP, ask, data, reset, text
from tests.support.models.model import HEAD, Conversation, Model, silent
from tests.support.stack import Stack

# Failures


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_keeps_its_status_and_body(answering: Stack, user: str, model: Model, stream: bool) -> None:
    body = b'{ "error": {"message": "slow down", "type": "rate", "code": "rate_limited"} }'
    model.script = lambda conversation: conversation.answer("429 Too Many", body, "application/json", "Retry-After: 7")
    answer = ask(answering, user, stream=stream)
    assert (answer.status_code, answer.content) == (429, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["retry-after"] == "7"
    kept = answering.get(f"/v1/generations/{answer.headers['x-generation-id']}", answering.bearer(user)).json()
    assert (kept["state"], kept["error"]["message"], kept["error"]["status"]) == ("upstream_error", "slow down", 429)


def test_the_client_raises_what_the_model_refused(client: openai.OpenAI, model: Model) -> None:
    model.script = lambda conversation: conversation.answer("429 Too Many", b'{"error": {"message": "slow down"}}')
    with pytest.raises(openai.RateLimitError, match="slow down"):
        client.chat.completions.create(**ASK, stream=True)


def endless(conversation: Conversation) -> None:
    conversation.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        conversation.send(b"X-Odd: %b\r\n" % (b"x" * 1000))


BEFORE: dict[str, tuple[Callable[[Conversation], object], str | None]] = {
    "html": (lambda c: c.answer("200 OK", b"<html>Welcome!</html>", "text/html"), "upstream_malformed"),
    "not http": (lambda c: c.send(b"SSH-2.0-x\r\n").close(), "upstream_malformed"),
    "nothing": (Conversation.close, "upstream_closed"),
    "reset": (reset, "upstream_closed"),
    "half a head": (lambda c: c.send(HEAD[:20]).close(), "upstream_closed"),
    "json that is none": (lambda c: c.answer("200 OK", b'{"choices": '), "upstream_malformed"),
    "json that is nested without end": (lambda c: c.answer("200 OK", b'{"choices": %b}' % DEEP), "upstream_malformed"),
    "a refusal like that": (lambda c: c.answer("502 Bad", b'{"error": %b}' % DEEP), None),
    "a head without end": (endless, "upstream_malformed"),
    "no choices": (lambda c: c.answer("200 OK", b"{}"), "upstream_malformed"),
    "an error with status 200": (lambda c: c.answer("200 OK", b'{"error": {"message": "x", "code": "y"}}'), "y"),
    "a redirect": (lambda c: c.answer("302 Found", b"", "text/html", "Location: /"), "upstream_refused"),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("what", BEFORE)
def test_no_answer_at_all(answering: Stack, user: str, model: Model, what: str, stream: bool) -> None:
    model.script, code = BEFORE[what]
    answer = ask(answering, user, stream=stream)
    assert answer.status_code == 502, answer.text
    assert answer.headers["content-type"] == "application/json"
    if code is None:
        assert answer.content == b'{"error": %b}' % DEEP
        return
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["type"] == "upstream_error"


def lines(count: int) -> Callable[[Conversation], object]:
    def script(conversation: Conversation) -> None:
        for _ in range(count):
            conversation.chunk(b"x" * 2**20)

    return script


AMID: dict[str, tuple[Callable[[Conversation], object], str]] = {
    "a malformed chunk": (lambda c: c.chunk(b"data: {nonsense\n\n"), "upstream_malformed"),
    "a chunk that is no object": (lambda c: c.chunk(b"data: [1]\n\n"), "upstream_malformed"),
    "not utf-8": (lambda c: c.chunk(b'data: {"a": "\xff"}\n\n'), "upstream_malformed"),
    "the end without [DONE]": (lambda c: c.send(b"0\r\n\r\n"), "upstream_closed"),
    "a closed connection": (Conversation.close, "upstream_closed"),
    "a reset": (reset, "upstream_closed"),
    "broken framing": (lambda c: c.send(b"zzz\r\n"), "upstream_malformed"),
    "a line of 9 MB": (lines(9), "upstream_malformed"),
    "one that is nested without end": (lambda c: c.chunk(b'data: {"error": %b}\n\n' % DEEP), "upstream_malformed"),
    "an error": (lambda c: c.chunk(b'data: {"error": {"message": "boom", "code": "b"}}\n\n'), "b"),
}


@pytest.mark.parametrize("what", AMID)
def test_a_model_that_fails_in_the_middle(answering: Stack, user: str, model: Model, what: str) -> None:
    fail, code = AMID[what]

    def script(conversation: Conversation) -> None:
        conversation.send(HEAD).say("begun")
        fail(conversation)

    model.script = script
    answer = ask(answering, user, stream=True)
    assert answer.status_code == 200
    *said, failure, done = data(answer.text)
    assert text(said) == "begun"
    assert failure["error"]["code"] == code
    assert failure["error"]["message"]
    assert done == "[DONE]"
    kept = answering.get(f"/v1/generations/{answer.headers['x-generation-id']}", answering.bearer(user)).json()
    assert (kept["state"], kept["text"], kept["error"]["code"]) == ("upstream_error", "begun", code)


def test_the_client_raises_an_error_amid(client: openai.OpenAI, model: Model) -> None:
    model.script = lambda c: c.send(HEAD).say("begun").chunk(b'data: {"error": {"message": "boom"}}\n\n')
    with pytest.raises(openai.APIError, match="boom"):
        list(client.chat.completions.create(**ASK, stream=True))


def test_nobody_is_there(start: Start, user: str) -> None:
    stack = start(llm_base_url="http://127.0.0.1:1/v1", workers=1)
    for stream in (True, False):
        answer = ask(stack, user, stream=stream)
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "upstream_unreachable"


@pytest.fixture(scope="module")
def impatient(_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Any:
    running = Stack(
        tmp_path_factory.mktemp("impatient"), llm_base_url=_model.url, workers=1,
        llm_first_token_seconds=1, llm_between_tokens_seconds=1.2, llm_total_seconds=2.4,
    )  # fmt: skip
    yield running
    running.stop()


def test_a_model_that_never_answers(impatient: Stack, user: str, model: Model) -> None:
    model.script = silent
    answer = ask(impatient, user, stream=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "first_token_timeout")
    model.asked().wait_for_hang_up()
    for number, (more, code) in enumerate([({}, "first_token_timeout"), ({"top_k": 1}, "total_timeout")], 2):
        answer = ask(impatient, user, **more)  # the second is not asked as a stream
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, code)
        model.asked(number).wait_for_hang_up()


@pytest.mark.parametrize(
    ("said", "code"), [([], "first_token_timeout"), (["a"], "between_tokens_timeout"), (["a"] * 9, "total_timeout")]
)
def test_a_model_that_falls_silent(impatient: Stack, user: str, model: Model, said: list[str], code: str) -> None:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD)
        for word in said:
            conversation.say(word)
            conversation.hung_up.wait(0.3)

    model.script = script
    answer = ask(impatient, user, stream=True)
    *told, failure, done = data(answer.text)
    assert (failure["error"]["code"], failure["error"]["type"], done) == (code, "timeout", "[DONE]")
    assert text(told) == text(told[:1]) * len(told)
    model.asked().wait_for_hang_up()
    kept = impatient.get(f"/v1/generations/{answer.headers['x-generation-id']}", impatient.bearer(user)).json()
    assert kept["state"] == "timeout"
