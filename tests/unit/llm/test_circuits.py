"""Servers of several that fail, refuse, rest or say nothing; and what all of them have."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest

from pushsvc.llm.making.asking import Asking, Engine
from pushsvc.llm.models.base import ResponseHandler
from pushsvc.llm.request import Question
from pushsvc.llm.routing.place import FAILURES
from pushsvc.llm.routing.router import Router
from tests.support.models.routed import FAULT, GOOD, OK, ROLE, TOKEN, Heard, Server, ask, place, says, wait


def test_a_circuit_opens_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushsvc.llm.routing.place.FIRST_PAUSE", 0.2)
    bad, good = Server(says(FAULT)), Server(GOOD)
    flaky, steady = place(bad, "a", weight=10**9), place(good, "b")
    flaky._pause = 0.2
    for _ in range(FAILURES + 3):
        ask(flaky, steady)[0].until("complete")
    assert len(bad.handlers) == FAILURES
    assert Router([flaky, steady], 60.0).problems() == ["The model's server a fails, and is left alone."]
    bad.script = GOOD
    with gevent.Timeout(10):
        while flaky.is_open:
            ask(flaky, steady)[0].until("complete")
    assert Router([flaky, steady], 60.0).problems() == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_refused_question_says_nothing_of_the_server(status: int) -> None:
    server = Server(says((status, {"retry-after": "1"}), b"no", None))
    asked = place(server)
    for number in range(FAILURES + 1):
        assert ask(asked)[0].until("complete") == [status, b"no", "complete"]
        assert len(server.handlers) == number + 1
    assert not asked.is_open
    assert not asked.rests(0.0)


def test_who_refused_is_not_asked_again_after_a_pause() -> None:
    refuses, rests = Server(says((404, {}), b"no", None)), Server(GOOD)
    later = place(rests, "b")
    later.rests_until = time.monotonic() + 0.1
    assert ask(place(refuses, "a"), later)[0].until("complete")[-2:] == [ROLE + TOKEN, "complete"]
    assert (len(refuses.handlers), len(rests.handlers)) == (1, 1)


def test_who_waits_for_a_server_that_comes_to_rest_chooses_again() -> None:
    server, other = Server(), Server(GOOD)
    busy, also = place(server, "a", at_a_time=1), place(other, "b")
    first = ask(busy)[0]
    wait(lambda: server.handlers)
    also.rests_until = time.monotonic() + 60
    waits = [ask(busy, also)[0] for _ in range(3)]
    wait(lambda: busy.waiting == 3)
    also.rests_until = 0.0
    says((429, {"retry-after": "30"}), b"no", None)(server.handlers[0])
    assert first.until("complete")[-3] == 429
    assert all(heard.until("complete")[-2] == ROLE + TOKEN for heard in waits)
    assert (len(server.handlers), len(other.handlers)) == (1, 3)


@pytest.mark.parametrize("end", [GOOD, says(FAULT), None])
def test_one_question_tries_an_open_server_and_others_wait(end: Callable[[ResponseHandler], None] | None) -> None:
    server = Server()
    flaky = place(server, queue=2)
    old = ask(flaky)[1]  # a stream from before, which does not count
    wait(lambda: server.handlers)
    flaky._failures = FAILURES
    flaky._pause = 0.1
    tries = ask(flaky)[1]
    wait(lambda: len(server.handlers) == 2)
    waits = [ask(flaky)[0] for _ in range(2)]
    wait(lambda: flaky.waiting == 2)
    assert ask(flaky)[0].until("complete")[0] == 429
    assert len(server.handlers) == 2
    tries.close() if end is None else end(server.handlers[1])
    wait(lambda: len(server.handlers) > 2)
    for number in (2, 3):
        wait(lambda number=number: len(server.handlers) > number)  # type: ignore[misc]
        GOOD(server.handlers[number])
    assert [heard.until("complete")[-1] for heard in waits] == ["complete"] * 2
    assert not flaky.is_open
    old.close()
    assert (flaky._running, flaky._probe) == (0, None)


def test_an_error_of_the_service_frees_the_try() -> None:
    server = Server()
    server.ask = None  # type: ignore[assignment,method-assign]
    flaky = place(server)
    flaky._failures = FAILURES
    ask(flaky)[0].until("internal_error")
    assert (flaky._running, flaky._probe) == (0, None)


@pytest.mark.parametrize("silent", [None, says((200, OK)), says((200, OK), ROLE)])
def test_the_next_is_asked_if_a_server_is_silent(silent: Callable[[ResponseHandler], None] | None) -> None:
    server = Server(silent)
    mute = place(server, "a", weight=10**9)
    for number in range(1, FAILURES + 1):
        heard = ask(mute, place(Server(GOOD), "b"), first_token=0.3)[0]
        assert heard.until("complete")[-2] == ROLE + TOKEN
        assert server.closed == number
    assert mute.is_open
    alone = place(server)
    assert ask(alone, first_token=0.1)[0].until("first_token_timeout")
    assert alone._failures == 1


def test_an_answer_that_is_only_an_error_is_a_failure() -> None:
    wrong = b'data: {"error":{"message":"m"}}\n\n'
    server = place(Server(says((200, OK), wrong, None)))
    for _ in range(FAILURES):
        assert ask(server)[0].until("complete") == [200, wrong, "complete"]
    assert server.is_open


class Lister(Server):
    """A model whose list the test gives."""

    def list(self, name: str | None, handler: ResponseHandler) -> Any:
        return self.ask(b"", handler, {})


def test_servers_are_asked_for_their_lists_once_in_a_while() -> None:
    server = Lister()
    router = Router([place(server)], 60.0)
    heard = [Heard() for _ in range(3)]
    calls = [router.list(None, each) for each in heard]
    wait(lambda: server.handlers)
    calls[0].close()
    wait(lambda: calls[0]._greenlet.dead)  # type: ignore[attr-defined]
    says((200, {"content-type": "application/json"}), b'{"data":[{"id":"m"}]}', None)(server.handlers[0])
    for each in heard[1:]:
        assert json.loads(each.until("complete")[1])["data"] == [{"id": "m"}]
    router.list("m", last := Heard())
    assert last.until("complete")[0] == 200
    assert (len(server.handlers), heard[0].told) == (1, [])


def test_the_head_of_a_queue_is_no_answer_of_the_model() -> None:
    question = SimpleNamespace(about=SimpleNamespace(model="m"), stream=True, sent=b"s", body=b"b", choices=1)
    engine = Engine(60.0)
    asking = Asking(cast("Question", question), engine, 0.0)
    server = Server()
    busy = place(server, at_a_time=1)
    ask(busy)
    wait(lambda: server.handlers)
    heads: list[dict[str, str]] = []
    waits = Heard()
    waits.began = lambda status, headers: heads.append(headers)  # type: ignore[method-assign]
    Router([busy], 60.0).ask(b'{"stream":true}', waits, {})
    wait(lambda: heads)
    assert asking.begins(heads[0])
    assert engine.takes(("m", True)) is None
    assert not asking.begins(OK)
    assert engine.takes(("m", True))
