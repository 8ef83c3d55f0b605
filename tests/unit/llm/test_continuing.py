"""The part of an answer that can be continued, how its rest is asked for, and how that joins."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pushsvc.llm.formats.continuing import Past, SoFar, continuation, is_continued, without_continued
from pushsvc.llm.formats.openai import parse
from tests.support.models.chunks import chunk

ROLE = chunk("", delta={"role": "assistant", "content": ""})
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def rest(text: str, *, llama: bool = False, **members: Any) -> Any:
    found = continuation(json.dumps(ASK | members).encode(), SoFar(text, {"id": "c"}, 2, llama=llama))
    return None if found is None else json.loads(found)


def test_the_text_so_far_is_the_last_message() -> None:
    messages = [*ASK["messages"], {"role": "assistant", "content": "half\n"}]
    assert rest("half\n", llama=True, max_tokens=9) == ASK | {"messages": messages, "max_tokens": 7}
    theirs = {"continue_final_message": True, "add_generation_prompt": False}
    assert rest("half\n", temperature=0) == ASK | {"messages": messages, "temperature": 0} | theirs
    assert rest("", n=1) == ASK | {"n": 1}, "nothing came: it is asked as before"


@pytest.mark.parametrize(
    "members",
    [
        {"n": 2},
        {"tools": []},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"max_tokens": 2},  # which are used up
        {"messages": [*ASK["messages"], {"role": "assistant", "content": "a prefix"}]},
    ],
)
def test_questions_that_are_not_continued(members: dict[str, Any]) -> None:
    assert rest("half", **members) is None


@pytest.mark.parametrize(
    "said",
    [
        chunk("a", delta={"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": ""}}]}),
        chunk("a", delta={"reasoning_content": "hm"}),
        chunk("broken \ufffd"),
        chunk("half of a pair \ud83d"),
        chunk("blanks may be lost "),
        chunk("a", index=1),
    ],
)
def test_answers_that_are_not_continued(said: dict[str, Any]) -> None:
    assert SoFar.of([ROLE, chunk("text"), said]) is None


def test_the_rest_joins() -> None:
    so_far = SoFar.of([ROLE, chunk("eight ch"), chunk("\n") | {"system_fingerprint": "b6000-abc1234"}])
    assert so_far is not None
    assert (so_far.text, so_far.tokens, so_far.llama, so_far.over) == ("eight ch\n", 3, True, False)
    more = chunk("more", delta={"role": "assistant", "content": "more"}) | {"id": "other", "created": 9}
    counted = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    joined = Past(1, 2.0, so_far).joins(parse(json.dumps(more | {"usage": counted}).encode()))
    assert (joined.value["id"], joined.value["created"]) == ("c", 1)
    assert joined.value["choices"][0]["delta"] == {"content": "more"}
    assert joined.value["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 8,
        "total_tokens": 15,
        "estimated": True,
    }


def test_its_event_is_no_chunk() -> None:
    event = b"id: 5-1\n" + Past(1, 0.0, SoFar()).frame("gen_1")
    assert is_continued(event)
    assert is_continued(event.partition(b"\n")[2])
    others = b":\n", b'id: 5-0\ndata: {"a":"event: continued"}\n\n', b"id: 5-2\ndata: [DONE]\n\n"
    assert without_continued(b"".join([*others[:2], event, others[2]])) == b"".join(others)
    assert not any(map(is_continued, others))
