"""The ends of answers: cancelled, or with their worker, or while Redis is away."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pushsvc.storage.redis.keys import ALONE as keys
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.answers import begin, cancel, ended, finished, listen, running, said, state, words
from tests.support.models.completions import ASK, PATH, data
from tests.support.models.model import Model, silent
from tests.support.processes import alive
from tests.support.stack import Stack

# Endings


@pytest.mark.every_redis
@pytest.mark.parametrize("begun_to_answer", [True, False])
@pytest.mark.every_script
def test_cancel(answering: Stack, user: str, model: Model, begun_to_answer: bool) -> None:
    model.script = words("a", "b") if begun_to_answer else silent
    begun = begin(answering, user)
    conversation = model.asked()
    with listen(answering, begun["url"]) as source:
        source.wait(lambda each: said(each.messages) == ("ab" if begun_to_answer else ""))
        answer = cancel(answering, user, begun["id"])
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        conversation.wait_for_hang_up()
        messages = finished(source)
        assert json.loads(messages[-2].data)["error"]["code"] == "cancelled"
        source.wait(lambda each: each.closed, "a clean end")
    again = cancel(answering, user, begun["id"])
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")
    assert again.json()["text"] == ("ab" if begun_to_answer else "")


def test_cancelling_twenty_times_ends_it_once(answering: Stack, user: str, model: Model) -> None:
    model.script = words("a")
    begun = begin(answering, user)
    model.asked()
    with listen(answering, begun["url"]) as source, ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: cancel(answering, user, begun["id"]), range(20)))
        finished(source)
    answer = httpx.get(answering.url + begun["url"], trust_env=False)
    assert answer.text.count("[DONE]") == 1
    assert answer.text.count('"code":"cancelled"') == 1


def test_an_asker_hears_that_it_was_cancelled(answering: Stack, user: str, model: Model) -> None:
    model.script = silent
    for stream in (True, False):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(answering.post, PATH, ASK | {"stream": stream}, answering.bearer(user))
            model.asked(len(model.conversations) + 1 if not stream else 1)
            until(lambda: running(answering, user), "the answer to be begun")
            cancel(answering, user, running(answering, user)[0])
            answer = waiting.result(20)
        if answer.status_code == 200:  # the wait for the model's head was over
            assert data(answer.text)[-2]["error"]["code"] == "cancelled"
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (499, "cancelled")


@pytest.fixture(scope="module")
def shaken(_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose parts are broken, one after the other."""
    running = Stack(tmp_path_factory.mktemp("shaken"), llm_base_url=_model.url)
    yield running
    running.stop()


@pytest.fixture
def stack(shaken: Stack) -> Stack:
    shaken.until_ready()
    return shaken


def test_a_worker_that_is_killed(stack: Stack, user: str, model: Model) -> None:
    """Others end what it made, and its listeners are not left hanging."""
    model.script = words("half an ans")
    begun = [begin(stack, user) for _ in range(4)]
    model.asked(4)
    with listen(stack, begun[0]["url"], reconnect=True) as source:
        source.wait(lambda each: said(each.messages) == "half an ans")
        for worker in stack.pids()["gunicorn"][1:]:
            os.kill(worker, signal.SIGKILL)
        stack.until_ready()
        messages = finished(source)
        assert json.loads(messages[-2].data)["error"]["code"] == "producer_lost"
        assert said(messages[:-2]) == "half an ans"
        source.wait(lambda each: each.closed, "the end of its reconnects")
    for each in begun:
        described = ended(stack, user, each["id"])
        assert (described["state"], described["text"]) == ("producer_lost", "half an ans")
        assert described["usage"]["estimated"] is True
        answer = httpx.get(stack.url + each["url"], trust_env=False)
        assert answer.text.count("[DONE]") == 1
    until(lambda: not stack.redis.smembers(keys.producers), "the dead to be forgotten")


def test_a_worker_that_stops_finishes_its_answers(stack: Stack, user: str, model: Model) -> None:
    """A reload: the listener lands on another worker, the answer goes on in the old one."""
    model.script = words("before, ")
    begun = begin(stack, user)
    conversation = model.asked()
    with listen(stack, begun["url"], reconnect=True) as source:
        source.wait(lambda each: said(each.messages) == "before, ")
        workers = stack.pids()["gunicorn"][1:]
        os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP)
        source.wait(lambda each: len(each.statuses) > 1, "a reconnect")
        conversation.say("after").done()
        assert said(finished(source)) == "before, after"
    until(lambda: not any(map(alive, workers)), "the old workers to be gone")
    assert state(stack, user, begun["id"])["state"] == "completed"


def test_a_worker_that_cannot_wait_longer_ends_its_answers(start: Start, user: str, model: Model) -> None:
    model.script = words("half")
    stack = start(llm_base_url=model.url, workers=1, drain_seconds=0, gunicorn="--graceful-timeout 4")
    begun = begin(stack, user)
    model.asked()
    until(lambda: state(stack, user, begun["id"])["text"] == "half", "the first token")
    os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP)
    described = ended(stack, user, begun["id"])
    assert (described["state"], described["text"]) == ("producer_lost", "half")


def test_redis_is_away_for_a_while(stack: Stack, user: str, model: Model) -> None:
    """The model's words wait meanwhile, and are written once."""
    model.script = words("one ")
    begun = begin(stack, user)
    conversation = model.asked()
    with listen(stack, begun["url"], reconnect=True) as source:
        source.wait(lambda each: said(each.messages) == "one ")
        [valkey] = stack.pids()["valkey"]
        os.kill(valkey, signal.SIGKILL)
        conversation.say("two ").say("three")
        until(lambda: stack.pids()["valkey"] not in ([], [valkey]), "another Valkey")
        stack.until_ready()
        conversation.say(" four").done()
        assert said(finished(source)) == "one two three four"
    assert state(stack, user, begun["id"])["text"] == "one two three four"


def test_a_frozen_redis(stack: Stack, user: str, model: Model) -> None:
    """A write without an answer may have been done or not: it is repeated, and done once. No worker counts as dead."""
    model.script = words("one ")
    begun = begin(stack, user)
    conversation = model.asked()
    until(lambda: state(stack, user, begun["id"])["text"] == "one ", "the first token")
    [valkey] = stack.pids()["valkey"]
    os.kill(valkey, signal.SIGSTOP)
    try:
        conversation.say("two ").say("three")
        until(lambda: "redis: TimeoutError" in stack.output, "a write that was not answered")
        conversation.hung_up.wait(2.5)  # the leases run out
    finally:
        os.kill(valkey, signal.SIGCONT)
    stack.until_ready()
    conversation.say(" four").done()
    described = ended(stack, user, begun["id"])
    assert (described["state"], described["text"]) == ("completed", "one two three four")
