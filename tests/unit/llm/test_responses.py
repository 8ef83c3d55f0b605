"""The Responses API: what is asked becomes a question, and chunks become numbered events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.errors import Invalid, TooLarge
from pushsvc.events import exact_json, sse
from pushsvc.events.encoded import EncodedBatch, EncodedEvent
from pushsvc.events.event import EventId
from pushsvc.llm.asked import RESPONSES, Asked
from pushsvc.llm.dialects.responses import request as wishes
from pushsvc.llm.dialects.responses.events import ResponseEvents
from pushsvc.llm.dialects.responses.history import Responses
from pushsvc.llm.dialects.responses.items import MOST_REFERENCES, items_of, messages_of
from pushsvc.llm.dialects.translating import TranslatingCoder, translated
from pushsvc.llm.outcome import Ending

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
FILE = {"type": "input_image", "file_id": "f"}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}


def nothing(_names: Sequence[str]) -> dict[str, Any]:
    return {}


def chat(**members: Any) -> dict[str, Any]:
    read = wishes.read(json.dumps(members).encode(), exact_json.loads)
    said: dict[str, Any] = json.loads(wishes.chat(read, [], nothing))
    assert (said.pop("stream"), said.pop("stream_options")) == (True, {"include_usage": True})
    return said


def asked(**members: Any) -> Any:
    return {key: value for key, value in chat(input="q", **members).items() if key != "messages"}


def test_each_member_has_its_counterpart() -> None:
    assert chat(input="q", instructions="i")["messages"] == [
        {"role": "system", "content": "i"},
        {"role": "user", "content": "q"},
    ]
    assert asked(max_output_tokens=5, temperature=0.5, top_k=3) == {
        "max_completion_tokens": 5, "temperature": 0.5, "top_k": 3,
    }  # fmt: skip
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    assert asked(text={"format": {"type": "json_schema"} | schema, "verbosity": "low"}) == {
        "verbosity": "low", "response_format": {"type": "json_schema", "json_schema": schema},
    }  # fmt: skip
    tool = {"name": "f", "parameters": {}, "strict": True}
    assert asked(tools=[{"type": "function"} | tool], tool_choice={"type": "function", "name": "f"}) == {
        "tools": [{"type": "function", "function": tool}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    }  # fmt: skip
    assert asked(reasoning={"effort": "low", "summary": "auto"}) == {"reasoning_effort": "low"}
    assert asked(include=["message.output_text.logprobs"], top_logprobs=2) == {"logprobs": True, "top_logprobs": 2}


def test_items_become_messages_and_messages_items() -> None:
    given_items: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "input_text", "text": "what?"}, IMAGE]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
        CALL, CALL | {"call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
    ]  # fmt: skip
    messages = messages_of(given_items, nothing)
    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[0]["content"][1] == {"type": "image_url", "image_url": {"url": IMAGE["image_url"], "detail": "low"}}
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["c1", "c2"]
    assert messages[3]["content"] == "sun"
    items = items_of(messages, "x")
    assert [each["type"] for each in items] == [
        "message", "message", "function_call", "function_call", "function_call_output", "function_call_output",
    ]  # fmt: skip
    assert messages_of(items, nothing) == messages
    assert messages_of([{"type": "item_reference", "id": "i"}], lambda _: {"i": given_items[0]}) == messages[:1]


def test_references_are_looked_up_once_and_only_so_many() -> None:
    looked: list[Sequence[str]] = []

    def find(names: Sequence[str]) -> dict[str, Any]:
        looked.append(names)
        return {"i": {"role": "user", "content": "q"}}

    many = [{"type": "item_reference", "id": "i"}] * (MOST_REFERENCES + 1)
    assert len(messages_of(many[1:], find)) == len(looked[0]) == MOST_REFERENCES
    with pytest.raises(Invalid, match=rf"input\[{MOST_REFERENCES}\]"):
        messages_of(many, find)
    assert len(looked) == 1


class Kept:
    """One response, of which it counts the reads."""

    def __init__(self) -> None:
        self.reads = 0
        self.records = self

    def find(self, generation_id: str) -> Any:
        self.reads += 1
        return SimpleNamespace(id=generation_id, user="u", asked=Asked(RESPONSES, True), ending=Ending("completed"))

    def request(self, _generation_id: str) -> bytes:
        return json.dumps({"messages": [{"role": "user", "content": "x" * 1000}]}).encode()

    def answer(self, _record: Any) -> dict[str, Any]:
        return {}


def test_what_a_question_repeats_of_others_has_a_bound() -> None:
    kept, name = Kept(), f"msg_{'a' * 24}_in_0"
    responses = Responses(kept, "u", 10_000)  # type: ignore[arg-type]
    assert list(responses.items([name] * 5)) == [name]
    assert kept.reads == 1
    with pytest.raises(TooLarge):
        responses.items([name] * 5)
    follows = Responses(kept, "u", 1_900)  # type: ignore[arg-type]
    assert len(follows.after(kept.find("g"))) == 1
    with pytest.raises(TooLarge):
        follows.after(kept.find("g"))


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"type": "mcp_call"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [FILE]}]}, "input[0].content[0].file_id"),
        ({"input": [{"role": "assistant", "content": [IMAGE]}]}, "input[0].content[0]"),
        ({"input": [{"type": "item_reference", "id": "i"}]}, "input[0].id"),
        ({"input": 3}, "input"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"background": True, "store": False}, "store"),
        ({"tool_choice": {"type": "mcp"}, "tools": [{"type": "function", "name": "f"}]}, "tool_choice.type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"stream": 1}, "stream"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_refused_by_name(members: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid) as refused:
        chat(**{"input": "q"} | members)
    assert list(refused.value.errors or ()) == [named]


# Events


def log(*deltas: dict[str, Any], reason: str | None = "stop", **last: Any) -> list[EncodedEvent]:
    """The events of an answer as they stand in the log."""
    values = [{"model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if reason:
        values.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    values += [last] if last else []
    frames = [sse.data_frame(json.dumps(value).encode()) for value in values] + [sse.DONE]
    ids = [EventId(1, number) for number in range(len(frames))]
    return [EncodedEvent(i, sse.with_id(str(i).encode(), frame)) for i, frame in zip(ids, frames, strict=True)]


def told(events: list[EncodedEvent], after: int = -1) -> tuple[list[dict[str, Any]], bytes]:
    translator = ResponseEvents({"id": "resp_x", "object": "response", "model": ""}, after=after)
    wire = translator.begin() + translated(translator, events)
    found = [sse.read_event(each) for each in wire.split(b"\n\n") if each]
    assert all(name == json.loads(data)["type"] for name, data in found)
    return [json.loads(data) for _, data in found], wire


THINKS = [{"role": "assistant", "reasoning_content": "h"}, {"reasoning": "m"}]
SAYS = [{"content": "a"}, {"content": "\ud83d"}, {"content": "\ude80"}]
CALLS = [
    {"tool_calls": [{"index": 0, "id": "c0", "function": {"name": "f", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
    {"tool_calls": [{"index": 1, "id": "c1", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
]


def test_all_kinds_of_items() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    events, _ = told(log(*THINKS, *SAYS, {"refusal": "no"}, *CALLS, usage=usage, choices=[]))
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    last = events[-1]
    assert (events[0]["type"], last["type"]) == ("response.created", "response.completed")
    thoughts, message, call, custom = last["response"]["output"]
    assert thoughts["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert [part.get("text", part.get("refusal")) for part in message["content"]] == ["a🚀", "no"]
    assert (call["call_id"], call["arguments"], call["status"]) == ("c0", "{}", "completed")
    assert (custom["type"], custom["input"]) == ("custom_tool_call", "x")
    assert last["response"]["usage"]["output_tokens"] == 2
    done = [each["item"] for each in events if each["type"] == "response.output_item.done"]
    assert done == last["response"]["output"]


@pytest.mark.parametrize(
    ("events", "kind", "status"),
    [
        (log(*SAYS, reason="length"), "response.incomplete", "incomplete"),
        (log(*SAYS, reason=None, error={"message": "m", "code": "timeout"}), "response.failed", "failed"),
        (log(*SAYS, reason=None, error={"message": "m", "code": "cancelled"}), "response.incomplete", "cancelled"),
    ],
)
def test_endings(events: list[EncodedEvent], kind: str, status: str) -> None:
    heard, _ = told(events)
    assert [each["type"] for each in heard].count(kind) == 1
    assert (heard[-1]["type"], heard[-1]["response"]["status"]) == (kind, status)
    assert heard[-1]["response"]["output"][0]["status"] == "incomplete"


@given(st.lists(st.sampled_from([*THINKS, *SAYS[:1], *CALLS]), max_size=12), st.integers(0, 60), st.integers(0, 12))
def test_resuming_after_any_number_gives_the_rest_to_the_byte(
    deltas: list[dict[str, Any]], after: int, cut: int
) -> None:
    """However the events come in pieces, and with comments between."""
    events = log(*deltas)
    whole, wire = told(events)
    _, rest = told(events, after)
    assert rest == b"".join(each + b"\n\n" for each in wire.split(b"\n\n")[after + 1 : -1])
    translator = ResponseEvents({"id": "resp_x", "object": "response", "model": ""})
    begun, coder = translator.begin(), TranslatingCoder(translator, None)
    pieces = [coder.encode(EncodedBatch(b":\n" + b"".join(event.wire for event in part)))
              for part in (events[:cut], events[cut:])]  # fmt: skip
    assert begun + b"".join(pieces).replace(b":\n", b"") == wire
    assert len(whole) == wire.count(b"sequence_number")


def test_events_of_a_server_that_speaks_the_api_pass_with_our_id_and_numbers() -> None:
    natives: list[dict[str, Any]] = [
        {"type": "response.created", "sequence_number": 7, "response": {"id": "theirs", "output": []}},
        {"type": "response.new_thing", "sequence_number": 9, "odd": [1.5]},
        {"type": "response.completed", "sequence_number": 1, "response": {"id": "theirs", "status": "completed"}},
    ]
    translator = ResponseEvents({"id": "resp_x", "object": "response", "store": True}, native=True)
    assert translator.begin() == b""
    wires = [translator.take({"choices": [], "native": each}) for each in natives] + [translator.done()]
    events = [json.loads(sse.read_event(each)[1]) for each in wires if each]
    assert [(each["type"], each["sequence_number"]) for each in events] == [
        (each["type"], number) for number, each in enumerate(natives)
    ]
    assert events[1]["odd"] == [1.5]
    assert (events[2]["response"]["id"], events[2]["response"]["store"]) == ("resp_x", True)
