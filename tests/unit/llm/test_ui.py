"""The AI SDK's chat: its messages become a question, and chunks the parts of its message."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pushsvc.errors import Invalid
from pushsvc.events import sse
from pushsvc.llm.dialects.ui import request as wishes
from pushsvc.llm.dialects.ui.stream import UIMessageStream

USER = {"id": "u", "role": "user", "parts": [{"type": "text", "text": "q"}]}
TOOL = {"type": "tool-weather", "toolCallId": "c1", "state": "output-available", "input": {"city": "Oslo"}}


def read(*messages: Any, **members: Any) -> tuple[wishes.Request, dict[str, Any]]:
    request = wishes.read({"id": "c", "messages": list(messages)} | members)
    return request, json.loads(request.body)


def test_parts_become_messages() -> None:
    picture = {"type": "file", "mediaType": "image/png", "url": "https://x/y.png"}
    document = {
        "type": "file",
        "mediaType": "application/pdf",
        "url": "data:application/pdf;base64,AA",
        "filename": "f",
    }
    sound = {"type": "file", "mediaType": "audio/mpeg", "url": "data:audio/mpeg;base64,AA"}
    answer = {
        "id": "a", "role": "assistant",
        "parts": [
            {"type": "step-start"}, {"type": "reasoning", "text": "hm"}, {"type": "text", "text": "I look."},
            TOOL | {"output": {"sky": "blue"}}, TOOL | {"toolCallId": "c2", "state": "output-error", "errorText": "no"},
            TOOL | {"toolCallId": "c3", "state": "input-available"},
            {"type": "step-start"}, {"type": "text", "text": "Blue."},
            TOOL | {"type": "dynamic-tool", "toolName": "other", "output": "x"},
        ],
    }  # fmt: skip
    asked = {
        "id": "u",
        "role": "user",
        "parts": [*USER["parts"], picture, document, sound, {"type": "data-x", "data": 1}],
    }
    request, body = read(asked, answer, model="m", trigger="submit-message", messageId="a")
    assert (request.chat, request.answers, request.interrupt, body["model"]) == ("c", "a", True, "m")
    assert not {"id", "trigger", "messageId"} & body.keys()
    user, looks, blue, error, last, said = body["messages"]
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "file", "input_audio"]
    assert user["content"][3]["input_audio"] == {"data": "AA", "format": "mp3"}
    assert looks["content"] == "I look."
    assert [(call["id"], call["function"]["name"]) for call in looks["tool_calls"]] == [
        ("c1", "weather"),
        ("c2", "weather"),
    ]
    assert (blue["content"], error["content"]) == ('{"sky":"blue"}', "no")
    assert (last["content"], last["tool_calls"][0]["function"]["name"], said["content"]) == ("Blue.", "other", "x")
    assert read(USER)[0].answers is None


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"id": ""}, "id"), ({"id": "a\n"}, "id"), ({"messages": []}, "messages"), ({"messages": [3]}, "messages[0]"),
        ({"messages": [{"role": "tool", "parts": []}]}, "messages[0]"), ({"interrupt": 1}, "interrupt"),
        ({"messages": [{"role": "user", "content": "q"}]}, "messages[0].parts"),
        ({"messages": [{"role": "user", "parts": [{"type": "file", "mediaType": "application/pdf", "url": "http://x"}]}]},
         "messages[0].parts[0].url"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(members: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid) as refused:
        wishes.read({"id": "c", "messages": [USER]} | members)
    assert list(refused.value.errors or ()) == [named]


def told(*deltas: dict[str, Any], reason: str | None = "stop", error: Any = None) -> list[Any]:
    stream = UIMessageStream("gen_x", "m1")
    wire = stream.begin()
    for delta in deltas:
        wire += stream.take({"choices": [{"index": 0, "delta": delta}, {"index": 1, "delta": {"content": "not this"}}]})
    wire += stream.take({"error": error}) if error else stream.take({"choices": [{"finish_reason": reason}]})
    wire += stream.done()
    data = [sse.read_event(each)[1] for each in wire.split(b"\n\n") if each]
    assert data[-1] == "[DONE]"
    return [json.loads(each) for each in data[:-1]]


def test_parts_of_all_kinds() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":'}}
    cited = {"type": "url_citation", "url_citation": {"url": "https://x", "title": "X"}}
    events = told(
        {"reasoning_content": "h"}, {"reasoning": "m"}, {"content": "a"}, {"content": "b", "annotations": [cited]},
        {"tool_calls": [call]}, {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [{"index": 1, "id": "d", "function": {"name": "g", "arguments": "{"}}]},
        {"images": [{"image_url": {"url": "data:image/png;base64,AA"}}]}, reason="tool_calls",
    )  # fmt: skip
    assert [each["type"] for each in events] == [
        "start", "start-step", "reasoning-start", "reasoning-delta", "reasoning-delta", "reasoning-end",
        "text-start", "text-delta", "text-delta", "source-url", "text-end",
        "tool-input-start", "tool-input-delta", "tool-input-delta", "tool-input-start", "tool-input-delta", "file",
        "tool-input-available", "tool-input-error", "finish-step", "finish",
    ]  # fmt: skip
    assert events[0]["messageId"] == "m1"
    assert (events[-4]["input"], events[-3]["input"]) == ({"a": 1}, "{")
    assert events[-1]["finishReason"] == "tool-calls"


def test_a_place_in_a_queue_is_told() -> None:
    stream = UIMessageStream("gen_x", "m1")
    told = stream.take({"choices": [], "queue": {"place": 3}})
    assert json.loads(told[6:]) == {"type": "data-queue", "data": {"place": 3}, "transient": True}


def test_endings() -> None:
    cancelled = told({"content": "a"}, error={"code": "cancelled", "message": "m"})
    assert [each["type"] for each in cancelled[-2:]] == ["text-end", "abort"]
    failed = told({"content": "a"}, error={"code": "timeout", "message": "m"})
    assert (failed[-1]["type"], failed[-1]["errorText"]) == ("error", "m")
    assert told({"content": "a"}, reason="length")[-1]["finishReason"] == "length"
