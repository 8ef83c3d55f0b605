"""Several models' servers: who is asked, and who waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from pushsvc.errors import ConfigError
from pushsvc.llm.models.base import ResponseHandler
from pushsvc.llm.routing.attempt import Attempt
from pushsvc.settings.upstreams import HELD, hold, read
from tests.support.models.routed import FAULT, GOOD, OK, ROLE, TOKEN, Server, ask, place, queue, says


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
