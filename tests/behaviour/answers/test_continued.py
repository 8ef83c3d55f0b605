"""Answers that outlive the workers that made them: `PUSHSVC_LLM_CONTINUE`."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import httpx

from pushsvc.storage.redis.keys import ALONE as keys
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.answers import begin, ended, finished, listen, said, state
from tests.support.models.completions import ASK, PATH, data, text
from tests.support.models.model import HEAD, Conversation, Model, event

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]}
USAGE = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}


def half(conversation: Conversation) -> None:
    """Says half of an answer; asked with that, it says the rest."""
    asked: dict[str, Any] = conversation.json
    if asked["messages"][-1]["role"] == "assistant":
        conversation.send(HEAD)
        conversation.chunk(event("").replace(b'"content": ""', b'"role": "assistant", "content": ""'))
        conversation.say(" ans", id="another")
    elif "tools" in asked:
        conversation.send(HEAD).say("half").chunk(event(None, choices=[{"index": 0, "delta": CALL}]))
    else:
        conversation.send(HEAD).say("half ").say("an")


def rest(conversation: Conversation) -> None:
    conversation.say("wer", id="another").chunk(event(None, finish_reason="stop"))
    conversation.chunk(b"data: %b\n\n" % json.dumps({"choices": [], "usage": USAGE}).encode()).done()


def test_another_worker_goes_on(start: Start, user: str, model: Model) -> None:
    model.script = half
    stack = start(llm_base_url=model.url, llm_continue="on")
    begun, called = begin(stack, user, key="k"), begin(stack, user, tools=TOOLS)
    with listen(stack, begun["url"], reconnect=True) as source:
        source.wait(lambda each: said([m for m in each.messages if m.event == "message"]) == "half an")
        until(lambda: state(stack, user, called["id"])["choices"][0]["message"].get("tool_calls"), "the call")
        for worker in stack.pids()["gunicorn"][1:]:
            os.kill(worker, signal.SIGKILL)
        stack.until_ready()
        source.wait(lambda each: each.messages[-1].event == "message" and " ans" in each.messages[-1].data)
        headers = {**stack.bearer(user), "Idempotency-Key": "k"}
        with httpx.stream(
            "POST", stack.url + PATH, json=ASK | {"stream": True}, headers=headers, trust_env=False
        ) as late:
            lines = late.iter_lines()
            heard: list[str] = []
            for line in lines:
                heard.append(line)
                if " ans" in line:
                    break
            rest(model.conversations[-1])
            heard += lines
        messages = finished(source)
    assert "continued" not in "".join(heard)
    assert text(data("\n".join(heard))) == "half an answer"
    told = [each for each in messages if each.event == "continued"]
    assert [json.loads(each.data) for each in told] == [{"id": begun["id"], "continued": 1}]
    chunks = [json.loads(each.data) for each in messages if each.event == "message" and each.data != "[DONE]"]
    assert text(chunks) == "half an answer"
    assert {each["id"] for each in chunks} == {"chatcmpl-1"}
    described = ended(stack, user, begun["id"])
    assert (described["state"], described["text"], described["continued"]) == ("completed", "half an answer", 1)
    assert described["usage"] == {**USAGE, "prompt_tokens": 7, "completion_tokens": 3, "estimated": True}

    lost = ended(stack, user, called["id"])
    assert (lost["state"], lost["text"], lost["continued"]) == ("producer_lost", "half", 0)
    [asked] = model.conversations[2:]
    assert asked.json["messages"][-1] == {"role": "assistant", "content": "half an"}
    assert asked.json["continue_final_message"] is True

    whole = httpx.get(stack.url + begun["url"], headers={"Last-Event-ID": messages[0].id}, trust_env=False).text
    assert (whole.count("[DONE]"), whole.count("event: continued")) == (1, 1)
    [snapshot, *_] = data(httpx.get(stack.url + begun["url"], trust_env=False).text)
    assert (text([snapshot]), "continued" in snapshot) == ("half an answer", False)
    again = stack.post(PATH, ASK | {"stream": True}, headers).text
    assert "continued" not in again
    assert text(data(again)) == "half an answer"
    until(lambda: len(stack.redis.smembers(keys.producers)) == 1, "the dead to be forgotten")


def test_a_worker_that_stops_leaves_its_answers_to_others(start: Start, user: str, model: Model) -> None:
    model.script = half
    stack = start(
        llm_base_url=model.url, llm_continue="on", workers=1, drain_seconds=0, gunicorn="--graceful-timeout 4"
    )
    begun = begin(stack, user)
    until(lambda: state(stack, user, begun["id"])["text"] == "half an", "half of it")
    os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP)
    rest(model.asked(2))
    described = ended(stack, user, begun["id"])
    assert (described["state"], described["text"], described["continued"]) == ("completed", "half an answer", 1)
    assert len(model.conversations) == 2
