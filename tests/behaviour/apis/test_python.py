"""`pushsvc.client.Answers`: asked, cut, gone on with, also in another process."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import pytest

from pushsvc.client import AnswerError, Answers
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.clients.scripted import CUT, Say, events, problem, scripted
from tests.support.models.model import HEAD, Conversation, Model
from tests.support.stack import Stack


def test_cut_and_gone_on_with(answering: Stack, user: str, model: Model) -> None:
    def begun(conversation: Conversation) -> None:
        conversation.send(HEAD).say("Hel")

    model.script = begun
    answers = Answers(answering.url, answering.token(user))
    answer = answers.ask([{"role": "user", "content": "q"}], model="m", temperature=0.5)
    assert model.asked().json["temperature"] == 0.5
    for piece in answer:
        assert piece == "Hel"
        break
    answer.close()
    model.asked().say("lo")
    assert next(answer) == "lo"
    words = f"""
from pushsvc.client import Answers
answers = Answers({answering.url!r}, {answering.token(user)!r})
answer = answers.get({answer.id!r}, {answer.cursor!r}, "Hello")
print("begun", flush=True)
print("".join(answer), answer.finish_reason)
print("".join(answers.get({answer.id!r})))
"""
    other = subprocess.Popen([sys.executable, "-c", words], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "begun\n"
    model.asked().say(" you").done()
    assert other.communicate(timeout=30)[0] == " you stop\nHello you\n"
    assert ("".join(answer), answer.text, answer.finish_reason) == (" you", "Hello you", "stop")
    assert answer.state()["usage"]["estimated"]


def test_failures_are_told(answering: Stack, user: str, model: Model) -> None:
    answers = Answers(answering.url, answering.token(user))
    model.script = lambda c: c.send(HEAD).say("half")
    answer = answers.ask("q")
    assert next(answer) == "half"
    answer.cancel()
    with pytest.raises(AnswerError) as cancelled:
        next(answer)
    assert cancelled.value.code == "cancelled"
    assert list(answer) == []
    with pytest.raises(AnswerError, match="messages") as refused:
        answers.ask([])
    assert (refused.value.status, refused.value.temporary) == (400, False)
    with pytest.raises(AnswerError, match="no generation"):
        next(answers.get("gen_x"))


def test_one_key_is_one_answer(answering: Stack, user: str, model: Model) -> None:
    answers = Answers(answering.url, answering.token(user))
    first, second = (answers.ask("q", key="k") for _ in range(2))
    assert first.id == second.id
    assert ["".join(first), "".join(second)] == ["Hello world"] * 2
    assert len(model.conversations) == 1


def test_workers_that_stop(start: Start, user: str) -> None:
    """The built-in model types for five seconds; meanwhile each worker is replaced."""
    stack = start(workers=1, drain_seconds=1)
    answer = Answers(stack.url, stack.token(user)).ask("q")
    heard = list(islice(answer, 10))
    stack.kill("nginx", slice(None))
    heard += list(answer)
    until(lambda: answer.state()["state"] == "completed", "the end of the answer")
    assert "".join(heard) == answer.state()["text"]


def test_refusals_for_now_are_borne() -> None:
    begun = Say(202, b'{"id": "gen_1", "url": "/"}')
    said = events('id: 1-0\ndata: {"choices": [{"delta": {"content": "a"}}]}', "id: 2-0\ndata: [DONE]")
    with scripted(problem(503, Retry_After="0"), CUT, begun, problem(503, Retry_After="0"), CUT, said) as service:
        assert "".join(Answers(service.url, "t").ask("q")) == "a"
        keys = {
            each["headers"].get("Idempotency-Key")
            for each in service.requests
            if each["headers"].get("Idempotency-Key")
        }
    assert len(keys) == 1
