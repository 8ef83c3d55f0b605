"""OpenAI's client for asyncio: the calls of a stored completion and of a response, whole, raw and streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import openai

from tests.behaviour.apis.test_stored import ASK, named
from tests.support.models.model import Model
from tests.support.stack import Stack


def test_all_calls(answering: Stack, user: str, model: Model) -> None:
    model.script = named

    async def run() -> None:
        options: Any = {"max_retries": 0, "_strict_response_validation": True}
        async with openai.AsyncOpenAI(
            base_url=f"{answering.url}/v1", api_key=answering.token(user), **options
        ) as client:
            await completions(client)
            await responses(client)

    asyncio.run(run())


async def completions(client: openai.AsyncOpenAI) -> None:
    calls = client.chat.completions
    raw = await calls.with_raw_response.create(**ASK, store=True, metadata={"a": "b"})
    made = raw.parse()
    assert made.choices[0].message.content == "Hi"
    text = ""
    async for chunk in await calls.create(**ASK, stream=True):
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert text == "Hi"
    async with calls.with_streaming_response.retrieve(made.id) as streaming:
        assert (await streaming.parse()).id == made.id
    assert (await calls.update(made.id, metadata={"c": "d"})).id == made.id
    assert [each.id async for each in calls.list(metadata={"c": "d"})] == [made.id]
    assert (await calls.delete(made.id)).deleted


async def responses(client: openai.AsyncOpenAI) -> None:
    calls = client.responses
    first = await calls.create(model="m", input="q", background=True)
    resumed = [each async for each in await calls.retrieve(first.id, stream=True, starting_after=1)]
    assert [each.sequence_number for each in resumed] == list(range(2, 2 + len(resumed)))
    assert resumed[-1].type == "response.completed"
    assert (await calls.retrieve(first.id)).output_text == "Hi"
    assert len([each async for each in calls.input_items.list(first.id)]) == 1
    async with client.responses.stream(model="m", input="q", previous_response_id=first.id) as stream:
        assert (await stream.get_final_response()).output_text == "Hi"
    assert (await calls.cancel(first.id)).status == "completed"  # it had ended
    await calls.delete(first.id)
