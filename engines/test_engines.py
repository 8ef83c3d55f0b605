"""Engines that run here: each answer through the service is the engine's own."""

from __future__ import annotations

import json
import statistics
import threading
import time
from typing import Any

import httpx
import pytest

from engines.conftest import Engine
from tests.support.clients.eventsource import until
from tests.support.models.answers import begin, cancel, ended, finished, listen, running, said
from tests.support.models.chunks import kept
from tests.support.models.completions import data, text

SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 5}}, "required": ["a"]}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}]
QUESTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one token": {"max_tokens": 1},
    "drawn": {"temperature": 1, "seed": 5},
    "two choices": {"n": 2, "seed": 3, "temperature": 1},
    "stop": {"stop": ["."]},
    "log probabilities": {"logprobs": True, "top_logprobs": 2},
    "json": {"response_format": {"type": "json_object"}},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    "tools": {"tools": TOOLS, "tool_choice": "required"},
}
_OWN = ("id", "created", "timings", "prompt_tokens_details")  # differ from call to call, the last with its cache


def same(value: Any) -> Any:
    """The parts that are to be equal. An answer that its length cut off inside a character has the half of that only if
    whole."""
    if isinstance(value, str):
        return value.rstrip("\ufffd")
    if isinstance(value, dict):
        return {key: same(each) for key, each in value.items() if key not in _OWN}
    return [same(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("what", QUESTIONS)
def test_whole_answers_are_equal_in_every_field(engine: Engine, what: str) -> None:
    members = QUESTIONS[what]
    own = engine.ask(**members)
    for _ in range(3):  # of an engine whose answers have a shape of their own, the first is asked whole
        answer = engine.through(**members)
        assert answer.status_code == own.status_code == 200, answer.text
        assert same(answer.json()) == same(own.json())


@pytest.mark.parametrize("what", ["plain", "drawn", "tools"])
def test_streams_and_counts_are_equal(engine: Engine, what: str) -> None:
    own = engine.ask(**QUESTIONS[what])
    answer = engine.through(stream=True, **QUESTIONS[what])
    assert same(text(data(answer.text))) == same(own.json()["choices"][0]["message"]["content"] or "")
    assert "usage" not in answer.text  # it did not ask for it
    counted = kept(engine.stack, "ada", answer)["usage"]
    assert {**counted, "prompt_tokens_details": 0} == {**own.json()["usage"], "prompt_tokens_details": 0} | {
        key: counted[key] for key in counted.keys() - own.json()["usage"].keys()
    }


@pytest.mark.parametrize("stream", [True, False])
def test_a_cancel_frees_the_engine(engine: Engine, stream: bool) -> None:
    asking = threading.Thread(target=engine.through, kwargs={"max_tokens": 4000, "stream": stream, "stop": ["§"]})
    asking.start()
    until(engine.busy, "the engine to begin")
    until(lambda: running(engine.stack, "ada"), "the answer")
    [only] = running(engine.stack, "ada")
    began = time.monotonic()
    cancel(engine.stack, "ada", only)
    until(lambda: not engine.busy(), "the engine to be idle")
    print(f"{engine.name}: idle {1000 * (time.monotonic() - began):.0f} ms after a cancel, stream={stream}")
    asking.join(60)


def test_who_comes_back_hears_the_rest(engine: Engine) -> None:
    begun = begin(engine.stack, "ada", model="tiny", max_tokens=200, temperature=1, seed=8)
    whole = finished(listen(engine.stack, begun["url"]))
    for each in whole[1:-1:7]:
        if each.id:
            rest = finished(listen(engine.stack, begun["url"], last=each.id))
            after = [other for other in whole if other.id and other.id > each.id]
            assert [other.data for other in rest if other.data] == [other.data for other in after if other.data]
    assert said(whole) == ended(engine.stack, "ada", begun["id"])["text"]


def test_the_time_to_the_first_event(engine: Engine) -> None:
    """Asked turn by turn."""
    found: dict[str, list[float]] = {"directly": [], "through the service": []}
    for _ in range(9):
        for name, base, key in (
            ("directly", engine.base, "sk-engines"),
            ("through the service", f"{engine.stack.url}/v1", engine.stack.token("ada")),
        ):
            body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "stream": True}
            began = time.monotonic()
            headers = {"Authorization": f"Bearer {key}"}
            with httpx.stream(
                "POST", f"{base}/chat/completions", json=body, headers=headers, trust_env=False
            ) as answer:
                lines = answer.iter_lines()
                next(each for each in lines if each.startswith("data: "))
                found[name].append(1000 * (time.monotonic() - began))
                list(lines)
    for name, times in found.items():
        print(f"{engine.name}: first event {name} after {statistics.median(times):.1f} ms")


def test_an_engine_that_is_killed_leaves_its_text(engine: Engine) -> None:
    """The last test of this engine."""
    answers: list[httpx.Response] = []
    asking = threading.Thread(
        target=lambda: answers.append(engine.through(max_tokens=4000, temperature=1, seed=1, stop=["§"]))
    )
    asking.start()
    until(lambda: running(engine.stack, "ada"), "the answer")
    [only] = running(engine.stack, "ada")
    headers = engine.stack.bearer("ada")
    until(lambda: engine.stack.get(f"/v1/generations/{only}", headers).json()["text"], "some text")
    engine.process.kill()
    asking.join(60)
    [answer] = answers
    assert answer.status_code >= 500, json.dumps(answer.json())
    assert ended(engine.stack, "ada", only)["text"]
