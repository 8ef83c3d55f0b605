"""What somebody asks of a model, checked at the border as far as it matters here; the rest is the model's to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from pushsvc import chunks
from pushsvc.errors import Invalid


@dataclass(frozen=True, slots=True)
class Question:
    """`body` goes to the model. `cancels`: nobody is to be answered who does not listen."""

    body: bytes
    stream: bool
    cancels: bool


def parse(body: Any, *, raw: bytes, model: str, stream: bool | None = None) -> Question:
    """Check a request in OpenAI's schema, and our own `on_disconnect`. `model`: if it names none; `stream`: in place
    of what it says.

    Raises Invalid, naming the field.
    """
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    if chunks.is_deep(raw, body):
        raise Invalid("The body is nested too deeply.")
    _check_messages(body.get("messages"))
    if not isinstance(body.get("model", ""), str):
        raise Invalid.field("model", "must be a string.")
    if not isinstance(body.get("stream"), bool | None):
        raise Invalid.field("stream", "must be true or false.")
    if body.get("on_disconnect", "continue") not in ("continue", "cancel"):
        raise Invalid.field("on_disconnect", "must be continue or cancel.")
    asked = bool(body.get("stream"))
    streams = asked if stream is None else stream
    passed = {name: value for name, value in body.items() if name != "on_disconnect"}
    if streams != asked:
        passed["stream"] = streams
    if model and "model" not in body:
        passed["model"] = model
    if passed != body:
        raw = orjson.dumps(passed)
    return Question(raw, streams, body.get("on_disconnect") == "cancel")


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise Invalid.field("messages", "must be a list of at least one message.")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Invalid.field(f"messages[{number}]", "must be an object with a role.")
        if not isinstance(message.get("content"), str | list | None):
            raise Invalid.field(f"messages[{number}].content", "must be a string, or a list of parts.")
