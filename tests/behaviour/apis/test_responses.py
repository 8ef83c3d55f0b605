"""/v1/responses as OpenAI's own client speaks it, strictly: each answer is checked against the client's types."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.behaviour.apis.conftest import strict
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.answers import state
from tests.support.models.completions import data
from tests.support.models.model import HEAD, Conversation, Model, event
from tests.support.stack import Stack

TOOL: Any = {
    "type": "function", "name": "weather", "strict": True, "description": "d",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}  # fmt: skip
EVERYTHING: dict[str, Any] = {
    "background": True, "include": ["code_interpreter_call.outputs"], "input": "string", "instructions": "i",
    "max_output_tokens": 0, "max_tool_calls": 0, "metadata": {"foo": "string"}, "model": "gpt-4o",
    "parallel_tool_calls": True, "reasoning": {"effort": "low", "summary": "auto"}, "service_tier": "auto",
    "store": True, "temperature": 1, "text": {"format": {"type": "text"}}, "tool_choice": "none", "tools": [TOOL],
    "prompt": {"id": "id", "variables": {"foo": "string"}, "version": "v"}, "top_logprobs": 0, "top_p": 1,
    "truncation": "auto", "user": "user-1234", "prompt_cache_key": "k", "safety_identifier": "s",
}  # fmt: skip


def words(*said: str) -> Callable[[Conversation], None]:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD)
        for word in said:
            conversation.say(word)

    return script


def test_all_calls_with_all_members(mocked: openai.OpenAI) -> None:
    """Whole, raw and streamed; the built-in model takes what other servers of chat completions could not."""
    responses = mocked.responses
    assert responses.create().status == "completed"
    first = responses.create(**EVERYTHING)
    assert (first.status, first.background, first.metadata) == ("in_progress", True, {"foo": "string"})
    until(lambda: responses.retrieve(first.id).status == "completed", "the end of the response")
    follow = responses.create(**EVERYTHING | {"previous_response_id": first.id, "stream": True})
    kinds = [each.type for each in follow]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    with responses.with_streaming_response.create(input="q") as streaming:
        assert streaming.parse().output_text.startswith("You said: “q”")
    found = responses.with_raw_response.retrieve(first.id, include=["code_interpreter_call.outputs"]).parse()
    assert found.id == first.id
    assert next(iter(responses.retrieve(first.id, stream=True, starting_after=0))).sequence_number == 1
    assert responses.cancel(first.id).status == "completed"  # it had ended
    responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        responses.retrieve(first.id)


def test_parsed_and_called_tools(mocked: openai.OpenAI) -> None:
    """The client's own loop: the call of a tool, its output, and the answer."""
    asked: list[Any] = [{"role": "user", "content": "weather in Oslo"}]
    with mocked.responses.stream(model="mock", input=asked, tools=[TOOL]) as stream:
        kinds = [each.type for each in stream]
        [call] = stream.get_final_response().output
    assert "response.function_call_arguments.delta" in kinds
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "weather in Oslo"}
    asked += [call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}]
    answer = mocked.responses.create(model="mock", input=asked, tools=[TOOL])
    assert "It rains." in answer.output_text
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted: Any = {"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}}
    assert "city" in json.loads(mocked.responses.create(model="mock", input="q", text=wanted).output_text)


def test_what_follows_a_response(client: openai.OpenAI, model: Model) -> None:
    first = client.responses.create(model="m", input="one", instructions="be kind")
    assert first.output_text == "Hello world"
    second = client.responses.create(model="m", input="two", previous_response_id=first.id, instructions="be brief")
    assert model.asked(2).json["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "Hello world"},
        {"role": "user", "content": "two"},
    ]
    items = list(client.responses.input_items.list(second.id, limit=1, order="asc"))
    assert [(each.type, getattr(each, "role", "")) for each in items] == [
        ("message", "user"), ("message", "assistant"), ("message", "user"),
    ]  # fmt: skip
    reference: Any = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "three"}]
    client.responses.create(model="m", input=reference)
    assert model.asked(3).json["messages"][0] == {"role": "assistant", "content": "Hello world"}


def test_a_conversation_is_interrupted(client: openai.OpenAI, model: Model) -> None:
    model.script = words("one")
    running = client.responses.create(model="m", input="1", conversation="c", background=True)
    model.asked(1)
    with pytest.raises(openai.ConflictError):
        client.responses.create(model="m", input="2", conversation="c")
    until(lambda: client.responses.retrieve(running.id).output_text == "one", "its text")
    client.responses.create(model="m", input="3", conversation="c", background=True, extra_body={"interrupt": True})
    assert client.responses.retrieve(running.id).status == "cancelled"
    model.asked(1).wait_for_hang_up()
    said = model.asked(2).json["messages"]
    assert [each["content"] for each in said] == ["1", "one", "3"]


def test_only_a_question_that_is_asked_interrupts(
    answering: Stack, user: str, client: openai.OpenAI, model: Model
) -> None:
    """One that is refused does not, nor does the same one once more, which gets its own answer."""
    model.script = words("one")
    asked: dict[str, Any] = {"input": "1", "conversation": "c", "background": True}
    headers = answering.bearer(user) | {"Idempotency-Key": f"{user}-k"}
    name = answering.post("/v1/responses", asked, headers).json()["id"]
    for more in ({}, {"interrupt": True}):
        again = answering.post("/v1/responses", asked | more, headers)
        assert (again.status_code, again.json()["id"]) == (200, name)
    with pytest.raises(openai.BadRequestError, match="input"):
        client.responses.create(
            model="m", input=[{"type": "item_reference", "id": "x"}], conversation="c", extra_body={"interrupt": True}
        )
    assert client.responses.retrieve(name).status == "in_progress"
    client.responses.cancel(name)


def test_who_may_see_it(answering: Stack, user: str, client: openai.OpenAI) -> None:
    kept = client.responses.create(model="m", input="q").id
    not_kept = client.responses.create(model="m", input="q", store=False).id
    other = strict(answering, f"{user}-other")
    for asks, name in ((other, kept), (client, not_kept), (client, "resp_x"), (client, "x")):
        for ask in (
            asks.responses.retrieve,
            asks.responses.cancel,
            asks.responses.input_items.list,
            asks.responses.delete,
        ):
            with pytest.raises(openai.NotFoundError):
                ask(name)
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        other.responses.create(model="m", input="q", previous_response_id=kept)


def test_numbers_beyond_the_end(answering: Stack, user: str, client: openai.OpenAI) -> None:
    last = [*client.responses.create(model="m", input="q", stream=True)][-1]
    assert list(client.responses.retrieve(last.response.id, stream=True, starting_after=last.sequence_number)) == []
    for wrong in (last.sequence_number + 1, -1, "x"):
        path = f"/v1/responses/{last.response.id}"
        refused = answering.get(path, answering.bearer(user), stream="true", starting_after=wrong)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "starting_after")


def test_failures_and_cancelling(answering: Stack, user: str, client: openai.OpenAI, model: Model) -> None:
    model.script = lambda c: c.answer("429 No", b'{"error":{"message":"slow","type":"t","code":"k"}}')
    with pytest.raises(openai.RateLimitError, match="slow"):
        client.responses.create(model="m", input="q")
    with pytest.raises(openai.RateLimitError, match="slow"):
        client.responses.create(model="m", input="q", stream=True)
    model.script = lambda c: c.send(HEAD).chunk(event("half")).close()
    broken = [*client.responses.create(model="m", input="q", stream=True)][-1]
    assert broken.type == "response.failed"
    assert (broken.response.status, broken.response.output_text) == ("failed", "half")
    assert broken.response.error is not None
    assert broken.response.error.code == "server_error"
    model.script = words("one")
    stream = client.responses.create(model="m", input="q", stream=True)
    heard = [next(stream) for _ in range(5)]
    name = heard[0].response.id  # type: ignore[union-attr]
    assert client.responses.cancel(name).status == "cancelled"
    heard += list(stream)
    assert heard[-1].type == "response.incomplete"
    assert heard[-1].response.status == "cancelled"
    assert list(client.responses.retrieve(name, stream=True)) == heard
    assert state(answering, user, f"gen_{name.removeprefix('resp_')}")["state"] == "cancelled"


def test_wrong_questions_name_what_is_wrong(answering: Stack, user: str, model: Model) -> None:
    wrong = {"tools": [{"type": "web_search"}], "prompt": {"id": "p"}, "input": 7}
    for name, value in wrong.items():
        refused = answering.post("/v1/responses", {"input": "q"} | {name: value}, answering.bearer(user))
        assert refused.status_code == 400
        assert refused.json()["error"]["param"].startswith(name)
    assert not model.conversations


def test_every_event_comes_once_though_clients_and_workers_die(start: Start, user: str) -> None:
    """A background response, cut again and again; then the worker that makes it is killed."""
    stack = start(workers=2, heartbeat_seconds=1)
    client = strict(stack, user)
    name = client.responses.create(model="mock", input="q", background=True).id
    heard: list[Any] = []
    while not heard or heard[-1]["type"] != "response.completed":
        after = {"starting_after": heard[-1]["sequence_number"]} if heard else {}
        url = f"{stack.url}/v1/responses/{name}"
        params = {"stream": "true"} | after
        with httpx.stream("GET", url, params=params, headers=stack.bearer(user), trust_env=False) as answer:
            wire = ""
            for piece in answer.iter_text():
                wire += piece
                if len(wire) > random.randint(2000, 20000):
                    break
            heard += data(wire.rpartition("\n\n")[0])
    assert [each["sequence_number"] for each in heard] == list(range(len(heard)))
    assert "".join(each.get("delta", "") for each in heard) == client.responses.retrieve(name).output_text
    name = client.responses.create(model="mock", input="q", background=True).id
    stream = client.responses.retrieve(name, stream=True)
    first = [next(stream) for _ in range(20)]
    stack.kill("gunicorn", slice(1, None))  # all workers
    until(lambda: client.responses.retrieve(name).status == "failed", "the end of what its worker made")
    rest = list(client.responses.retrieve(name, stream=True, starting_after=19))
    assert [each.sequence_number for each in [*first, *rest]] == list(range(20 + len(rest)))
    assert [each.type for each in rest].count("response.failed") == 1
