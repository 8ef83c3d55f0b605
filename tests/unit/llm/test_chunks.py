"""Answers in OpenAI's words, without a server: reading their events, joining them, and making a whole of them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.events import sse
from pushsvc.events.sse_parser import Reader, TooLong
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import joined
from pushsvc.llm.formats.openai import Chunk, Malformed
from tests.support.models.chunks import chunk

STREAM = (
    b"\xef\xbb\xbf: hello\r\ndata: one\r\n\r\n"
    b"event: x\rid: 7\rdata:two\rdata:  lines\r\r"
    b"retry: 5\n\n\n\ndata: gr\xc3\xbcn \xf0\x9f\x9a\x80\n\ndata\n\n: only\n\ndata: [DONE]\n\n"
)
DATA = [b"one", b"two\n lines", "grün 🚀".encode(), b"", b"[DONE]"]


def test_events_whatever_the_line_ends() -> None:
    assert Reader(1000).feed(STREAM) == DATA


def test_events_cut_at_every_byte() -> None:
    for first in range(len(STREAM)):
        reader = Reader(1000)
        assert reader.feed(STREAM[:first]) + reader.feed(STREAM[first:]) == DATA, first


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_cut_anywhere(cuts: list[int]) -> None:
    reader = Reader(1000)
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [data for start, end in pairwise(edges) for data in reader.feed(STREAM[start:end])]
    assert found == DATA


def test_the_last_event_may_lack_its_blank_line() -> None:
    reader = Reader(1000)
    assert reader.feed(b"data: a\n\ndata: [DONE]") == [b"a"]
    assert reader.finish() == [b"[DONE]"]
    assert reader.finish() == []


@pytest.mark.parametrize("piece", [1, 7, 2000])
def test_an_event_that_does_not_end(piece: int) -> None:
    reader = Reader(1000)
    pieces = [b"x" * piece] * (2000 // piece)
    with pytest.raises(TooLong):
        [reader.feed(each) for each in pieces]


@given(st.text())
def test_data_frames_are_read_as_they_were_written(text: str) -> None:
    data = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    assert Reader(10**6).feed(sse.data_frame(data)) == [data]


def parsed(*values: dict[str, Any]) -> list[Chunk]:
    return [openai.parse(json.dumps(value).encode()) for value in values]


def framed(*values: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(sse.read_event(frame)[1]) for frame in openai.frames(parsed(*values))]


def test_one_chunk_passes_as_it_came() -> None:
    raw = b'{ "choices" : [ {"delta" : {"content":"\\u00fc"} } ],  "x": 1.50 }'
    assert openai.frames([openai.parse(raw)]) == [b"data: " + raw + b"\n\n"]


def test_text_that_comes_together_is_joined() -> None:
    [one] = framed(chunk("a"), chunk("b"), chunk("c"))
    assert one == chunk("abc")


@pytest.mark.parametrize(
    "other",
    [
        chunk("b", index=1),
        chunk("b", logprobs={"content": []}),
        chunk("b", finish_reason="stop"),
        chunk(None, delta={"tool_calls": []}),
        chunk("b") | {"usage": {"total_tokens": 1}},
        chunk("b") | {"id": "another"},
        chunk("b") | {"choices": []},
        chunk(None, delta={"content": "b", "reasoning": "c"}),
    ],
)
def test_what_is_not_mere_text_is_not_joined(other: dict[str, Any]) -> None:
    assert framed(chunk("a"), other, chunk("c")) == [chunk("a"), other, chunk("c")]


def test_a_role_stays_with_the_text_it_begins() -> None:
    first = chunk(None, delta={"role": "assistant", "content": "a"})
    assert framed(first, chunk("b")) == [chunk(None, delta={"role": "assistant", "content": "ab"})]


def test_joined_in_any_grouping_it_says_the_same() -> None:
    values = [
        chunk(None, delta={"role": "assistant", "content": ""}),
        *(chunk(c) for c in "hello"),
        chunk("x", index=1),
    ]
    whole = joined(values)
    for cut in range(len(values)):
        assert joined([joined(values[:cut]), joined(values[cut:])] if cut else values) == whole
    assert [choice["delta"]["content"] for choice in whole["choices"]] == ["hello", "x"]


def test_tool_calls_grow_and_log_probabilities_follow() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        names = {"id": f"call{index}", "type": "function"} if "name" in function else {}
        return {"index": index, "function": function} | names

    whole = openai.completion(
        joined(
            [
                chunk(None, delta={"role": "assistant", "tool_calls": [call(0, name="f", arguments="")]}),
                chunk(None, delta={"tool_calls": [call(0, arguments='{"a"')]}),
                chunk(None, delta={"tool_calls": [call(1, name="g", arguments="{}"), call(0, arguments=":1}")]}),
                chunk("!", logprobs={"content": [{"token": "!"}], "refusal": None}),
                chunk("?", logprobs={"content": [{"token": "?"}], "refusal": None}, finish_reason="tool_calls"),
                {"choices": [], "usage": {"total_tokens": 9}},
            ]
        )
    )
    [choice] = whole["choices"]
    calls = choice["message"]["tool_calls"]
    assert [(each["id"], each["function"]) for each in calls] == [
        ("call0", {"name": "f", "arguments": '{"a":1}'}),
        ("call1", {"name": "g", "arguments": "{}"}),
    ]
    assert choice["logprobs"]["content"] == [{"token": "!"}, {"token": "?"}]
    assert choice["finish_reason"] == "tool_calls"
    assert whole["usage"] == {"total_tokens": 9}
    assert whole["object"] == "chat.completion"


def test_some_servers_repeat_the_role() -> None:
    whole = joined([chunk(None, delta={"role": "assistant", "content": "a"})] * 3)
    assert whole["choices"][0]["delta"] == {"role": "assistant", "content": "aaa"}


def test_a_completion_and_its_chunk_say_the_same() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]}
    whole = {
        "id": "c", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}],
    }  # fmt: skip
    assert openai.completion(joined([openai.chunk_of(whole)])) == whole


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"3", b'"x"', b"null", b"\xff", b"<html>", b'{"choices": {}}', b'{"choices": [3]}',
        b'{"choices": [{"delta": "text"}]}', b'{"choices": [{"message": 1}]}',
        b'{"a": NaN', b'{"a": Nan}', b'{"choices": [{"delta": {}, "message": 1}]}', b'{"a":' * 101 + b"1" + b"}" * 101,
    ],
)  # fmt: skip
def test_what_no_server_should_send(raw: bytes) -> None:
    with pytest.raises(Malformed):
        openai.parse(raw)


@pytest.mark.parametrize("choice", [{}, {"message": None}, {"index": 0, "finish_reason": "stop"}])
def test_choices_that_say_nothing(choice: dict[str, Any]) -> None:
    whole = openai.parse(json.dumps({"choices": [choice]}).encode()).value
    assert openai.text(whole) == ""
    assert openai.usage(whole, 0)["completion_tokens"] == 0
    assert openai.chunk_of(whole)["choices"][0]["delta"] == {}


def test_usage_is_the_server_s_or_an_estimate_that_says_so() -> None:
    whole = openai.completion(joined([chunk("x" * 41)]))
    prompt = openai.prompt_tokens(
        [{"role": "user", "content": [{"type": "text", "text": "12345678"}, {"type": "image_url"}]}]
    )
    assert openai.usage(whole, prompt) == {
        "prompt_tokens": 2, "completion_tokens": 11, "total_tokens": 13, "estimated": True,
    }  # fmt: skip
    assert openai.usage(whole | {"usage": {"total_tokens": 5}}, prompt) == {"total_tokens": 5}
    thought = openai.completion(joined([chunk(None, delta={"reasoning_content": "x" * 40}), chunk("y" * 4)]))
    assert openai.usage(thought, prompt)["completion_tokens"] == 11
    assert openai.usage(thought | {"usage": {}}, prompt)["estimated"] is True
