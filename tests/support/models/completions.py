"""Questions to `/v1/chat/completions`, and what is read of the answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai

from tests.support.models.model import Conversation
from tests.support.stack import Stack

ASK: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"
DEEP = b'{"a":' * 500 + b"1" + b"}" * 500  # JSON that is nested too deeply


def sdk(stack: Stack, user: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.token(user), max_retries=0)


def ask(stack: Stack, user: str, **members: Any) -> httpx.Response:
    return stack.post(PATH, ASK | members, stack.bearer(user))


def data(body: str) -> list[Any]:
    """The data of each event, parsed; the mark of the end as it is."""
    found = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in found]


def text(events: list[Any]) -> str:
    return "".join(
        (choice.get("delta") or {}).get("content") or ""
        for value in events
        if value != "[DONE]"
        for choice in value.get("choices") or ()
        if not choice.get("index")
    )


def reset(conversation: Conversation) -> None:
    conversation.sock.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER of no time: the close resets
    conversation.sock.close()
