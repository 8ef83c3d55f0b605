"""Several models' servers (LLM_UPSTREAMS), with real sockets, workers and reloads."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.completions import ask, data, sdk, text
from tests.support.models.model import HEAD, Conversation, Model


@pytest.fixture
def second() -> Iterator[Model]:
    running = Model()
    yield running
    running.close()


def tables(**upstreams: str) -> str:
    return "".join(f'[[upstream]]\nname = "{name}"\n{rest}\n' for name, rest in upstreams.items())


def test_failover_queues_and_reloads(start: Start, tmp_path: Path, user: str, model: Model, second: Model) -> None:
    file = tmp_path / "upstreams.toml"
    first = f'base_url = "{model.url}"\napi_key = "hush-1"\nmodels = ["fake", "only-*"]\nweight = 1000000000'
    other = f'base_url = "{second.url}"\napi_key = "hush-2"\nmodels = ["fake", "single"]\nat_a_time = 1'
    file.write_text(tables(a=first, b=other))
    stack = start(llm_upstreams=file, workers=1, rate_ask="off")
    model.script = Conversation.close
    for _ in range(4):
        assert text(data(ask(stack, user, stream=True).text)) == "Hello world"
    assert len(model.conversations) == 3  # then its circuit was open
    assert {each.headers["authorization"] for each in model.conversations} == {"Bearer hush-1"}
    assert {each.headers["authorization"] for each in second.conversations} == {"Bearer hush-2"}
    assert stack.get("/readyz", {}).json()["problems"] == ["The model's server a fails, and is left alone."]
    metrics = stack.get("/metrics", stack.bearer("root", admin=True)).text
    assert 'pushsvc_upstream_calls_total{result="answered",upstream="b"} 4.0' in metrics
    assert ask(stack, user, model="other").status_code == 404
    assert ask(stack, user).json()["choices"][0]["message"]["content"] == "Hello world"
    assert second.conversations[-1].json["stream"] is True  # as LLM_ASK_STREAMED has it

    second.script = lambda conversation: conversation.send(HEAD).say("busy")
    busy = sdk(stack, user).chat.completions.create(
        model="single", messages=[{"role": "user", "content": "q"}], stream=True
    )
    assert next(busy).choices[0].delta.content == "busy"
    waits = sdk(stack, user).chat.completions.create(
        model="single", messages=[{"role": "user", "content": "q"}], stream=True
    )
    place = next(waits)
    assert (place.choices, place.to_dict()["queue"]) == ([], {"place": 1})
    second.conversations[-1].done()
    second.asked(7).done()
    assert next(waits).choices[0].delta.content == "busy"

    file.write_text("wrong")
    [master, *_] = stack.pids()["gunicorn"]
    os.kill(master, signal.SIGHUP)
    until(lambda: "what it said before stays" in stack.output, "the word about the file")
    second.script = lambda conversation: conversation.send(HEAD).say("x").done()
    assert ask(stack, user, model="single").status_code == 200
    file.write_text(tables(b=other.replace("single", "renamed")))
    os.kill(master, signal.SIGHUP)
    until(lambda: ask(stack, user, model="renamed").status_code == 200, "the new file")
    until(lambda: ask(stack, user, model="single").status_code == 404, "the former workers' end")
    assert "hush" not in stack.output
