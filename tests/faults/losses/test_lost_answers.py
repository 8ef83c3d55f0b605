"""Redis loses its data while an answer is made: whoever listens or waits hears that, and not that a worker is gone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.answers import begin, finished, listen, running, said, state, words
from tests.support.models.model import Model, silent
from tests.support.ports import free_port
from tests.support.redis.servers import Servers
from tests.support.stack import Stack

LOST = {"message": "The answer was lost with Redis's data.", "type": "server_error", "code": "data_lost"}


@pytest.fixture(scope="module")
def emptied(_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("emptied"), llm_base_url=_model.url)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


@pytest.fixture
def stack(emptied: Stack, model: Model) -> Stack:
    return emptied


@pytest.mark.parametrize("heard", [True, False], ids=["the model goes on", "the model is silent"])
def test_redis_lost_its_data(stack: Stack, user: str, model: Model, heard: bool) -> None:
    model.script = words("one ")
    begun = begin(stack, user)
    conversation = model.asked()
    with listen(stack, begun["url"]) as source:
        source.wait(lambda each: said(each.messages) == "one ")
        stack.redis.flushall()
        if heard:
            conversation.say("two ")
        conversation.wait_for_hang_up()
        messages = finished(source)
    assert "gap" in [message.event for message in messages]
    assert json.loads(messages[-2].data)["error"] == LOST
    assert stack.get(f"/v1/generations/{begun['id']}", stack.bearer(user)).status_code == 404


@pytest.mark.parametrize("spoken", ["", "one "], ids=["nothing said", "begun"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_redis_lost_its_data_under_an_asker(stack: Stack, user: str, model: Model, stream: bool, spoken: str) -> None:
    """A stream that has begun ends by saying so. An asker who has heard nothing gets that as the answer, and asks
    again."""
    model.script = words(spoken) if spoken else silent
    question = {"stream": stream, "messages": [{"role": "user", "content": "?"}]}
    answers: list[httpx.Response] = []
    path, bearer = "/v1/chat/completions", stack.bearer(user)
    asking = threading.Thread(target=lambda: answers.append(stack.post(path, question, bearer)))
    asking.start()
    conversation = model.asked()
    until(lambda: running(stack, user), "the answer to begin")
    [begun] = running(stack, user)
    until(lambda: state(stack, user, begun)["text"] == spoken, "what was said")
    stack.redis.flushall()
    conversation.wait_for_hang_up()
    asking.join()
    if stream and spoken:
        [*_, last] = [line for line in answers[0].text.splitlines() if '"error"' in line]
        assert json.loads(last.removeprefix("data: "))["error"] == LOST
    else:
        assert (answers[0].status_code, answers[0].json()["error"]) == (503, LOST)


def test_a_restart_without_data(tmp_path: Path, start: Start, user: str, model: Model) -> None:
    """Redis keeps no data, so the restart loses all."""
    servers, port = Servers(tmp_path / "servers"), free_port()
    try:
        servers.serve(port, "--appendonly", "no")
        stack = start(redis_url=f"redis://127.0.0.1:{port}", llm_base_url=model.url, workers=1)
        model.script = words("one ")
        begun = begin(stack, user)
        conversation = model.asked()
        with listen(stack, begun["url"]) as source:
            source.wait(lambda each: said(each.messages) == "one ")
            servers.kill(port)
            servers.serve(port, "--appendonly", "no")
            conversation.wait_for_hang_up()
            messages = finished(source)
        assert json.loads(messages[-2].data)["error"] == LOST
    finally:
        servers.stop()
