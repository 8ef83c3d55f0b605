"""The sum of the chunks: text that comes in pieces grows, all else is said once."""

from __future__ import annotations

from typing import Any

import pytest

from pushsvc.events import exact_json
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import joined
from tests.support.models.chunks import chunk


def deltas(*pieces: dict[str, Any]) -> dict[str, Any]:
    """The delta that these make, in any grouping."""
    values = [chunk(None, delta=piece) for piece in pieces]
    whole = joined(values)
    for cut in range(1, len(values)):
        assert joined([joined(values[:cut]), joined(values[cut:])]) == whole, cut
    delta: dict[str, Any] = whole["choices"][0]["delta"]
    return delta


def choices(*members: dict[str, Any]) -> dict[str, Any]:
    choice: dict[str, Any] = joined([chunk("x", **each) for each in members])["choices"][0]
    return choice


@pytest.mark.parametrize(
    "key", ["content", "refusal", "reasoning", "reasoning_content", "thinking", "reasoning_text", "thought"]
)
def test_text_grows(key: str) -> None:
    assert deltas({"role": "assistant", key: ""}, {key: "a"}, {key: None}, {key: "b"}) == {
        "role": "assistant",
        key: "ab",
    }


def test_what_grows_in_what_is_in_a_delta() -> None:
    assert deltas({"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}) == {
        "function_call": {"name": "f", "arguments": "{}"}
    }
    audio = [
        {"id": "a", "transcript": "x", "data": "AA"},
        {"id": "a", "transcript": "y", "data": "BB", "expires_at": 7},
    ]
    assert deltas(*({"audio": each} for each in audio)) == {
        "audio": {"id": "a", "transcript": "xy", "data": "AABB", "expires_at": 7}
    }
    custom = [{"index": 0, "type": "custom", "id": "c", "custom": {"name": "n", "input": "a"}}]
    assert deltas({"tool_calls": custom}, {"tool_calls": [{"index": 0, "custom": {"input": "b"}}]}) == {
        "tool_calls": [{"index": 0, "type": "custom", "id": "c", "custom": {"name": "n", "input": "ab"}}]
    }


def test_what_is_no_text_is_said_once() -> None:
    repeated = {"provider": "p", "type": "t", "format": "f", "status": "done", "signature": "S", "x": {"kind": "k"}}
    assert deltas(*[repeated] * 3) == repeated
    filters = {"content_filter_results": {"hate": {"severity": "safe", "filtered": False}}, "matched_stop": 3}
    more = {"content_filter_results": {"hate": {"severity": "low"}, "self_harm": {"severity": "safe"}}}
    choice = choices(filters, filters, more)
    assert choice["content_filter_results"] == {
        "hate": {"severity": "low", "filtered": False}, "self_harm": {"severity": "safe"},
    }  # fmt: skip
    assert choice["matched_stop"] == 3


def test_one_item_for_each_token_follows() -> None:
    tokens = [{"token": "a", "logprob": -1, "top_logprobs": []}]
    one = {"logprobs": {"content": tokens, "refusal": None}, "token_ids": [1]}
    choice = choices(one, {"logprobs": None}, one)
    assert choice["logprobs"] == {"content": tokens * 2, "refusal": None}
    assert choice["token_ids"] == [1, 1]


def test_reasons_and_annotations() -> None:
    assert choices({"finish_reason": "stop"}, {"finish_reason": None}, {"finish_reason": ""})["finish_reason"] == "stop"
    cited = {"type": "url_citation", "url_citation": {"url": "u"}}
    other = {"type": "url_citation", "url_citation": {"url": "v"}}
    assert deltas({"annotations": [cited]}, {"annotations": [cited, other]}) == {"annotations": [cited, other]}


def test_reasoning_in_pieces() -> None:
    base = {"type": "t", "format": "fmt-1", "index": 0}
    for rest in ({}, {"type": "t", "format": "fmt-1"}):
        whole = deltas(
            {"reasoning_details": [base | {"text": "a"}]},
            {"reasoning_details": [base | {"text": "b"}]},
            {"reasoning_details": [{"index": 0, "signature": "S"} | rest]},
        )
        assert whole == {"reasoning_details": [base | {"text": "ab", "signature": "S"}]}
    other = {"type": "reasoning.encrypted", "index": 0, "data": "x", "id": "r"}
    assert deltas({"reasoning_details": [base]}, {"reasoning_details": [other]}) == {"reasoning_details": [base, other]}
    blocks = [{"type": "thinking", "thinking": "a"}, {"type": "thinking", "thinking": "b", "signature": "S"}]
    again = {"type": "thinking", "thinking": "c"}
    assert deltas(*({"thinking_blocks": [each]} for each in (*blocks, again))) == {
        "thinking_blocks": [{"type": "thinking", "thinking": "ab", "signature": "S"}, again]
    }


def call(**members: Any) -> dict[str, Any]:
    return {"tool_calls": [members]}


def test_a_new_call_at_a_used_index() -> None:
    f, g = {"name": "f", "arguments": "{"}, {"name": "g", "arguments": "{"}
    end = {"arguments": "}"}
    whole = deltas(
        call(index=0, id="a", type="function", function=f), call(index=0, id="a", function=end),
        call(index=0, id="b", type="function", function=g), call(index=0, id="", function=end),
    )  # fmt: skip
    assert [(each["id"], each["function"]) for each in whole["tool_calls"]] == [
        ("a", {"name": "f", "arguments": "{}"}), ("b", {"name": "g", "arguments": "{}"}),
    ]  # fmt: skip


def test_an_empty_first_id_gives_way() -> None:
    whole = deltas(call(index=0, id="", function={"name": "f"}), call(index=0, id="a", function={"arguments": "{}"}))
    assert whole["tool_calls"] == [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]
    first, second = chunk("a") | {"id": "", "model": "", "created": 0}, chunk("b") | {"id": "c1", "created": 5}
    last = chunk("c") | {"id": "c2", "model": "other", "created": 6}
    whole = joined([first, second, last])
    assert (whole["id"], whole["model"], whole["created"]) == ("c1", "m", 5)


def test_calls_without_an_index() -> None:
    """Some servers send them so: each complete, or in pieces that follow each other."""
    f, g = {"name": "f", "arguments": "{}"}, {"name": "g", "arguments": "{}"}
    assert len(deltas({"tool_calls": [{"function": f}, {"function": g}]})["tool_calls"]) == 2
    assert len(deltas(call(id="a", function=f), call(id="b", function=f))["tool_calls"]) == 2
    pieces = deltas(
        call(id="a", function={"name": "f"}), call(function={"arguments": "{"}), call(function={"arguments": "}"})
    )
    assert pieces["tool_calls"] == [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]


def test_content_in_parts() -> None:
    parts: list[dict[str, Any]] = [
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "h"}]}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "m"}]}]},
        {"content": "a"}, {"content": "b"},
    ]  # fmt: skip
    assert deltas(*parts)["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "ab"},
    ]  # fmt: skip


def test_the_last_word_at_the_top_level() -> None:
    values = [
        chunk("x") | {"timings": {"predicted_n": i}, "cost": i / 10, "usage": {"total_tokens": i}} for i in (1, 2, 3)
    ]
    values[0]["prompt_progress"] = {"processed": 6, "total": 20}
    values.append({"choices": None, "usage": None, "obfuscation": "x", "timings": None})
    whole = joined(values)
    assert (whole["timings"], whole["cost"], whole["usage"]) == ({"predicted_n": 3}, 0.3, {"total_tokens": 3})
    assert "obfuscation" not in whole
    assert "prompt_progress" not in openai.completion(whole)
    assert openai.text(openai.completion(whole)) == "xxx"


def test_halves_of_a_character_come_together() -> None:
    values = [
        exact_json.loads(b'{"choices":[{"delta":{"content":"%b"}}]}' % half) for half in (rb"a\ud83d", rb"\ude80")
    ]
    assert joined(values)["choices"][0]["delta"]["content"] == "a🚀"
    assert exact_json.dumps(joined(values[:1]), lone=True) == rb'{"choices":[{"delta":{"content":"a\ud83d"}}]}'


@pytest.mark.parametrize("index", [None, 0, "0", 0.0, {}])
def test_an_odd_index_is_the_first_choice(index: Any) -> None:
    values = [{"choices": [{"index": index, "delta": {"content": "a"}}]}, {"choices": [{"delta": {"content": "b"}}]}]
    assert [choice["delta"]["content"] for choice in joined(values)["choices"]] == ["ab"]


def test_a_stream_that_ends_with_all_of_the_message() -> None:
    whole = {"role": "assistant", "content": "all"}
    assert openai.text(openai.completion(joined([chunk(None, message=whole)]))) == "all"
    assert openai.text(openai.completion(joined([chunk("a"), chunk("ll", message=whole)]))) == "all"


def test_numbers_keep_their_digits() -> None:
    raw = b'{"seq":123456789012345678901234567890,"choices":[{"index":0,"delta":{"content":"a","n":-0},"p":1.10}]}'
    assert exact_json.dumps(joined([exact_json.loads(raw)] * 2)) == raw.replace(b'"a"', b'"aa"')


def test_pieces_of_one_id_are_one_call_though_each_has_its_name() -> None:
    first = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x"'}}
    second = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ":1}"}}
    other = {"id": "b", "function": {"name": "f", "arguments": "{}"}}
    assert deltas(*({"tool_calls": [each]} for each in (first, second, other))) == {
        "tool_calls": [first | {"function": {"name": "f", "arguments": '{"x":1}'}}, other]
    }
