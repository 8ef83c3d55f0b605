"""Stored completions, as OpenAI's own client speaks of them."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.behaviour.apis.conftest import strict
from tests.support.models.completions import sdk
from tests.support.models.model import HEAD, Conversation, Model, event
from tests.support.stack import Stack

ASK: Any = {"model": "m", "messages": [{"role": "user", "content": "q"}]}


def named(conversation: Conversation) -> None:
    """Each answer has an id of its own, as real servers give it."""
    name = f"chatcmpl-{id(conversation)}"
    conversation.send(HEAD).chunk(event("Hi", id=name)).done()


def store(client: openai.OpenAI, *, stream: bool = False, **members: Any) -> str:
    if not stream:
        return str(client.chat.completions.create(**ASK | members, store=True).id)
    first, *_ = client.chat.completions.create(**ASK | members, store=True, stream=True)
    return str(first.id)


def test_its_whole_life(client: openai.OpenAI, model: Model) -> None:
    model.script = named
    for stream in (False, True):
        name = store(client, stream=stream, metadata={"a": "b"})
        sent = model.conversations[-1].json
        assert "store" not in sent
        assert "metadata" not in sent
        found = client.chat.completions.retrieve(name)
        assert (found.id, found.choices[0].message.content, found.to_dict()["metadata"]) == (name, "Hi", {"a": "b"})
        changed = client.chat.completions.update(name, metadata={"c": "d"})
        assert changed.to_dict()["metadata"] == {"c": "d"}
        [listed] = client.chat.completions.list(metadata={"c": "d"})
        assert listed.id == name
        deleted = client.chat.completions.delete(name)
        assert (deleted.id, deleted.deleted) == (name, True)
        for gone in (client.chat.completions.retrieve, client.chat.completions.delete):
            with pytest.raises(openai.NotFoundError):
                gone(name)
    assert list(client.chat.completions.list()) == []


def test_pages_by_model_and_metadata(client: openai.OpenAI, model: Model) -> None:
    model.script = named
    names = [store(client, model=f"m{number % 2}", metadata={"n": str(number % 3)}) for number in range(6)]
    client.chat.completions.create(**ASK)  # is not stored
    assert [each.id for each in client.chat.completions.list(limit=2)] == names
    assert [each.id for each in client.chat.completions.list(limit=4, order="desc")] == names[::-1]
    assert [each.id for each in client.chat.completions.list(model="m1")] == names[1::2]
    assert [each.id for each in client.chat.completions.list(model="m1", metadata={"n": "0"})] == [names[3]]
    with pytest.raises(openai.BadRequestError, match="after"):
        client.chat.completions.list(after="nobody")


def test_messages(answering: Stack, user: str, client: openai.OpenAI, model: Model) -> None:
    """The client's types say that each is an assistant's, which is not so at OpenAI either."""
    model.script = named
    parts = [{"type": "text", "text": "two"}]
    asked = [{"role": "system", "content": "one"}, {"role": "user", "content": parts}]
    name = store(client, messages=asked)
    found = [each.to_dict() for each in sdk(answering, user).chat.completions.messages.list(name, limit=1)]
    assert found == [
        {"id": f"{name}-0", "role": "system", "content": "one", "content_parts": None},
        {"id": f"{name}-1", "role": "user", "content": "two", "content_parts": parts},
    ]


def test_who_may_see_it(answering: Stack, user: str, client: openai.OpenAI) -> None:
    name = store(client)
    other = strict(answering, f"{user}-other").chat.completions
    assert list(other.list()) == []
    for ask in (other.retrieve, other.messages.list, other.delete):
        with pytest.raises(openai.NotFoundError):
            ask(name)
    with pytest.raises(openai.NotFoundError):
        other.update(name, metadata={})


@pytest.mark.parametrize(
    "metadata", [{"a": 1}, ["a"], {str(n): "" for n in range(17)}, {"a" * 65: ""}, {"a": "b" * 513}]
)
def test_metadata_that_is_wrong(answering: Stack, user: str, client: openai.OpenAI, metadata: Any) -> None:
    answer = answering.post("/v1/chat/completions", ASK | {"store": True, "metadata": metadata}, answering.bearer(user))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "metadata")
    name = store(client)
    answer = answering.post(f"/v1/chat/completions/{name}", {"metadata": metadata}, answering.bearer(user))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "metadata")


def test_a_question_interrupts_its_conversation(
    answering: Stack, user: str, client: openai.OpenAI, model: Model
) -> None:
    model.script = lambda conversation: conversation.send(HEAD).say("Hel")
    asked = ASK | {"stream": True}
    first = client.chat.completions.create(**asked, extra_body={"conversation": "c"})
    other = client.chat.completions.create(**asked, extra_body={"conversation": "d"})
    assert [next(each).choices[0].delta.content for each in (first, other)] == ["Hel"] * 2
    second = client.chat.completions.create(**asked, extra_body={"conversation": "c", "interrupt": True})
    with pytest.raises(openai.APIError, match="cancelled"):
        list(first)
    model.asked(1).wait_for_hang_up()
    for number, stream in ((2, other), (3, second)):
        assert not {"conversation", "interrupt"} & model.asked(number).json.keys()
        model.asked(number).done()
        list(stream)
    wrong = answering.post("/v1/chat/completions", ASK | {"conversation": 3}, answering.bearer(user))
    assert wrong.json()["error"]["param"] == "conversation"
