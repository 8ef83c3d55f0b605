"""An answer that an engine goes on with after its worker was killed (`PUSHSVC_LLM_CONTINUE`)."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from engines.conftest import Engine
from tests.support.models.answers import begin, finished, listen, said
from tests.support.stack import Stack

BYTES = {str(token): -100 for token in range(3, 259)}  # the model's tokens of single bytes: no character is cut in two


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_an_answer_goes_on_after_a_kill(engine: Engine, cut: int) -> None:
    if engine.name != "llama.cpp":
        pytest.skip("not known to continue an answer")
    members: dict[str, Any] = {"max_tokens": 1500, "logit_bias": BYTES}
    own = engine.ask(**members).json()["choices"][0]["message"]["content"]
    stack: Stack = engine.stack
    asked = {"model": "tiny", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
    begun = begin(stack, "ada", **(members | asked))
    with listen(stack, begun["url"], reconnect=True) as source:
        source.wait(lambda each: len(said([m for m in each.messages if m.event == "message"])) >= cut)
        for worker in stack.pids()["gunicorn"][1:]:
            os.kill(worker, signal.SIGKILL)
        messages = finished(source)
    assert [each.event for each in messages].count("continued") == 1
    told = said([each for each in messages if each.event == "message"])
    short, long = sorted((told, own), key=len)
    assert long.startswith(short)
    assert len(long) - len(short) < len(own) / 10  # the bound of tokens is lowered by an estimate
