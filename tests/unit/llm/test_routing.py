"""Several models' servers: who is asked, who is left alone, and who waits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import pytest

from pushsvc.errors import ConfigError
from pushsvc.llm.models.base import Fault, Passed, ResponseHandler
from pushsvc.llm.routing.attempt import Attempt
from pushsvc.llm.routing.place import FAILURES, Place
from pushsvc.llm.routing.router import Router
from pushsvc.settings.upstreams import HELD, hold, read

OK = {"content-type": "text/event-stream"}
TOKEN = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
FAULT = Fault("upstream_closed", "It closed.")


class Server:
    """A model whose calls are answered by the test."""

    def __init__(self, script: Callable[[ResponseHandler], object] | None = None) -> None:
        self.handlers: list[ResponseHandler] = []
        self.closed = 0
        self.script = script

    def ask(self, body: bytes, handler: ResponseHandler, headers: Mapping[str, str]) -> Any:
        self.handlers.append(handler)
        if self.script is not None:
            gevent.spawn(self.script, handler)
        return self

    def list(self, name: str | None, handler: ResponseHandler) -> Any:
        raise AssertionError

    def pass_on(self, request: Passed, handler: ResponseHandler) -> Any:
        raise AssertionError

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def release(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


class Heard:
    """Takes what an answer is."""

    def __init__(self, user: str = "u") -> None:
        self.user = user
        self.told: list[Any] = []

    def began(self, status: int, headers: dict[str, str]) -> None:
        self.told.append(status)

    def heard(self, body: bytes) -> None:
        self.told.append(body)

    def complete(self) -> None:
        self.told.append("complete")

    def failed(self, fault: Fault) -> None:
        self.told.append(fault.code)

    def until(self, last: Any) -> list[Any]:
        with gevent.Timeout(10):
            while not self.told or self.told[-1] != last:
                gevent.sleep(0.005)
        return self.told


def place(server: Server, name: str = "s", **options: Any) -> Place:
    given: dict[str, Any] = {"models": ["*"], "weight": 1, "at_a_time": None, "queue": 10} | options
    return Place(name, server, **given)


def ask(*places: Place, user: str = "u", model: str = "m", stream: bool = True) -> tuple[Heard, Any]:
    heard = Heard(user)
    return heard, Router(places).ask(json.dumps({"model": model, "stream": stream}).encode(), heard, {})


def says(*told: Any) -> Callable[[ResponseHandler], None]:
    def script(handler: ResponseHandler) -> None:
        for each in told:
            if isinstance(each, tuple):
                handler.began(*each)
            elif isinstance(each, bytes):
                handler.heard(each)
            elif isinstance(each, Fault):
                handler.failed(each)
            else:
                handler.complete()

    return script


GOOD = says((200, OK), ROLE, TOKEN, None)


@pytest.mark.parametrize(
    "bad",
    [
        says(FAULT), says((200, OK), FAULT), says((200, OK), b": alive\n\n", ROLE, FAULT),
        says((503, {}), b"no", None), says((429, {"retry-after": "30"}), b"no", None), says((503, {}), b"n", FAULT),
        says((200, OK), b'data: {"error":{"message":"m"}}\n\n', None),
    ],
)  # fmt: skip
def test_the_next_is_asked_before_the_first_token(bad: Callable[[ResponseHandler], None]) -> None:
    first = Server(bad)
    heard, _ = ask(place(first, "a", weight=10**9), place(Server(GOOD), "b"))
    told = [each for each in heard.until("complete") if each not in (200, b": alive\n\n")]
    assert told == [ROLE + TOKEN, "complete"]
    assert len(first.handlers) == 1


def test_never_after_it() -> None:
    first, second = Server(says((200, OK), TOKEN, FAULT)), Server(GOOD)
    heard, _ = ask(place(first, "a", weight=10**9), place(second, "b"))
    assert heard.until("upstream_closed") == [200, TOKEN, "upstream_closed"]
    assert not second.handlers


def test_a_refusal_of_the_question_is_the_answer() -> None:
    second = Server(GOOD)
    heard, _ = ask(place(Server(says((400, {}), b"bad", None)), "a", weight=10**9), place(second, "b"))
    assert heard.until("complete") == [400, b"bad", "complete"]
    assert not second.handlers


def test_the_last_refusal_is_the_answer_if_all_refuse() -> None:
    heard, _ = ask(*(place(Server(says((503, {}), b"no", None)), name) for name in "ab"))
    assert heard.until("complete") == [503, b"no", "complete"]


def test_retry_after_is_waited_for() -> None:
    def script(handler: ResponseHandler) -> None:
        (GOOD if len(server.handlers) > 1 else says((429, {"retry-after-ms": "200"}), b"no", None))(handler)

    server = Server(script)
    heard, _ = ask(place(server))
    assert heard.until("complete")[-2:] == [ROLE + TOKEN, "complete"]
    assert len(server.handlers) == 2


def test_a_circuit_opens_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushsvc.llm.routing.place.FIRST_PAUSE", 0.2)
    bad, good = Server(says(FAULT)), Server(GOOD)
    flaky, steady = place(bad, "a", weight=10**9), place(good, "b")
    flaky._pause = 0.2
    for _ in range(FAILURES + 3):
        ask(flaky, steady)[0].until("complete")
    assert len(bad.handlers) == FAILURES
    assert Router([flaky, steady]).problems() == ["The model's server a fails, and is left alone."]
    bad.script = GOOD
    with gevent.Timeout(10):
        while flaky.is_open:
            ask(flaky, steady)[0].until("complete")
    assert Router([flaky, steady]).problems() == []


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


def wait(met: Callable[[], object]) -> None:
    with gevent.Timeout(10):
        while not met():
            gevent.sleep(0.005)


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


def test_models_by_name_and_pattern() -> None:
    some, rest = Server(GOOD), Server(GOOD)
    places = place(some, "a", models=["gpt-*", "o1"]), place(rest, "b", models=["llama"])
    for model, server in (("gpt-5", some), ("o1", some), ("llama", rest)):
        before = len(server.handlers)
        ask(*places, model=model)[0].until("complete")
        assert len(server.handlers) == before + 1
    heard = ask(*places, model="other")[0].until("complete")
    assert heard[0] == 404
    assert json.loads(heard[1])["error"]["code"] == "model_not_found"


def queue(heard: Heard) -> list[int]:
    chunks = [json.loads(each[6:]) for each in heard.told if isinstance(each, bytes) and b'"queue"' in each]
    return [each["queue"]["place"] for each in chunks]


def test_who_waits_is_told_its_place_and_users_take_turns() -> None:
    server = Server()
    busy = place(server, at_a_time=1, queue=4)
    asked = {name: ask(busy, user=name[0]) for name in ("a1",)}
    gevent.sleep(0.01)
    asked |= {name: ask(busy, user=name[0]) for name in ("a2", "a3", "b1", "c1")}
    gevent.sleep(0.01)
    full, _ = ask(busy, user="d")
    assert full.until("complete")[0] == 429
    assert [queue(asked[name][0])[-1] for name in ("a2", "b1", "c1", "a3")] == [1, 2, 3, 4]
    asked["c1"][1].close()
    assert queue(asked["a3"][0]) == [2, 3, 4, 3]
    for number in range(4):
        with gevent.Timeout(10):
            while len(server.handlers) <= number:
                gevent.sleep(0.005)
        GOOD(server.handlers[number])
    order = [handler._handler for handler in server.handlers if isinstance(handler, Attempt)]
    assert order == [asked[name][0] for name in ("a1", "a2", "b1", "a3")]
    assert busy.waiting == 0


def test_who_leaves_frees_its_place() -> None:
    server = Server()
    busy = place(server, at_a_time=1)
    first, second = ask(busy)[1], ask(busy)[1]
    gevent.sleep(0.01)
    first.close()
    gevent.sleep(0.01)
    assert (len(server.handlers), server.closed) == (2, 1)
    second.close()
    assert not busy.is_full


FILE = """[[upstream]]
name = "a"
base_url = "http://a/v1"
api_key = "hush"
models = ["gpt-*"]
weight = 3
at_a_time = 2
"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "tables"), ("x = 1", "tables"), ("[[upstream]", "no TOML"), ('[[upstream]]\nname = "a"', "base_url"),
        (FILE.replace("3", "0"), "weight"), (FILE + "more = 1", "more"), (FILE + FILE, "once"),
        (FILE.replace("http://a/v1", "a"), "base_url"), (FILE.replace('"hush"', '"hush\\n"'), "api_key"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_line_without_keys(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert says in str(refused.value)
    assert "hush" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_reload_with_a_wrong_file_keeps_the_former(tmp_path: Any) -> None:
    file, environ = tmp_path / "upstreams.toml", dict[str, str]()
    with pytest.raises(ConfigError, match="cannot be read"):
        hold(file, environ)
    file.write_text(FILE)
    assert hold(file, environ) is None
    file.write_text("half [")
    assert "stays" in (hold(file, environ) or "")
    [upstream] = read(environ[HELD])
    assert (upstream.name, upstream.models, upstream.weight, upstream.at_a_time) == ("a", ("gpt-*",), 3, 2)
    assert "hush" not in repr(upstream)
