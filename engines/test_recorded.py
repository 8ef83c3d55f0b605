"""Engines that are too large to be run here: what they said to one question, streamed and whole, was recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.install import FOLDER
from tests.conftest import Start
from tests.support.models.chunks import kept
from tests.support.models.completions import ask, data, text
from tests.support.models.model import HEAD, Conversation, Model

RECORDED = FOLDER / "recorded"


@pytest.mark.parametrize("name", sorted(each.stem for each in RECORDED.glob("*.json")))
def test_what_an_engine_said(shared: Start, user: str, model: Model, name: str) -> None:
    stack = shared(llm_base_url=model.url, workers=1)
    whole, events = (Path(RECORDED / f"{name}.{kind}").read_bytes() for kind in ("json", "events"))

    def script(conversation: Conversation) -> None:
        if conversation.json.get("stream"):
            conversation.send(HEAD).chunk(events).send(b"0\r\n\r\n")
        else:
            conversation.answer("200 OK", whole, "application/json")

    model.script = script
    own = {key: each for key, each in json.loads(whole).items() if key not in ("id", "created", "timings")}
    for _ in range(3):
        answer = ask(stack, user, model=name)
        assert {key: each for key, each in answer.json().items() if key in own} == own
        assert answer.json().keys() == json.loads(whole).keys()
        assert kept(stack, user, answer)["usage"] == own["usage"]
    streamed = ask(stack, user, model=name, stream=True)
    assert kept(stack, user, streamed)["usage"]["completion_tokens"] == own["usage"]["completion_tokens"]
    assert own["choices"][0]["message"]["content"].startswith(text(data(streamed.text)))
