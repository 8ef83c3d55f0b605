"""OpenTelemetry's spans of a whole stack, as its own exporter prints them."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients.eventsource import until
from tests.support.models.model import Model
from tests.support.others.hookreceiver import HOOK_SECRET, HookReceiver
from tests.support.stack import Stack

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_publish_ask_and_hook_have_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    receiver, model = HookReceiver(), Model()
    hooks = {"hook_url": receiver.url, "hook_secret": HOOK_SECRET}
    stack = Stack(tmp_path, workers=1, llm_base_url=model.url, **hooks)
    try:
        traced = stack.bearer("ada", publish=["*"]) | {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        stack.secrets.add("a-word-of-the-data")
        with stack.listen("ada"):
            until(lambda: receiver.heads, "the hook")
            sent = stack.post("/publish", {"user": "ada", "data": "a-word-of-the-data"}, traced).json()["id"]
        question = {"model": "m", "messages": [{"role": "user", "content": "a-word-of-the-data"}]}
        assert stack.post("/v1/chat/completions", question, traced).status_code == 200
        assert stack.stop(signal.SIGTERM) == 0
    finally:
        stack.stop()
        receiver.close()
        model.close()
    published, asked, hook = (found(stack, name)[0] for name in ("publish", "chat m", "POST"))
    for span in (published, asked):
        assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{TRACE}", f"0x{SPAN}")
    assert published["attributes"]["messaging.message.id"] == sent
    assert model.asked().headers["traceparent"] == f"00-{TRACE}-{asked['context']['span_id'][2:]}-01"
    assert hook["parent_id"] is None
    assert receiver.heads[0]["traceparent"].split("-")[2] == hook["context"]["span_id"][2:]
    assert hook["resource"]["attributes"]["service.name"] == "pushsvc"


def found(stack: Stack, name: str) -> list[dict[str, Any]]:
    """The spans of this name, as they were printed."""
    printed = map(json.loads, re.findall(r"^\{\n.*?^\}", stack.output, re.MULTILINE | re.DOTALL))
    return [span for span in printed if span["name"] == name]
