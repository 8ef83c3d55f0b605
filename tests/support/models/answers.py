"""Answers of models as their users see them: begun, heard, cancelled."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.support.clients.eventsource import EventSource, Message, until
from tests.support.models.completions import ASK, text
from tests.support.models.model import HEAD, Conversation
from tests.support.stack import Stack


def begin(stack: Stack, user: str, base: str | None = None, **members: Any) -> dict[str, str]:
    headers = stack.bearer(user)
    if key := members.pop("key", None):
        headers["Idempotency-Key"] = key
    answer = stack.post("/v1/generations", ASK | members, headers, base)
    assert answer.status_code == 202, answer.text
    begun: dict[str, str] = answer.json()
    return begun


def state(stack: Stack, user: str, generation_id: str) -> dict[str, Any]:
    answer = stack.get(f"/v1/generations/{generation_id}", stack.bearer(user))
    assert answer.status_code == 200, answer.text
    described: dict[str, Any] = answer.json()
    return described


def cancel(stack: Stack, user: str, generation_id: str) -> httpx.Response:
    url = f"{stack.url}/v1/generations/{generation_id}"
    return httpx.delete(url, headers=stack.bearer(user), trust_env=False)


def listen(stack: Stack, url: str, base: str | None = None, last: str = "", **options: Any) -> EventSource:
    """Listen as a browser does that has nothing but the URL."""
    return EventSource((base or stack.url) + url, {"Last-Event-ID": last} if last else {}, **options).wait_open()


def said(messages: list[Message]) -> str:
    return text([json.loads(each.data) for each in messages if each.data not in ("", "[DONE]")])


def finished(source: EventSource) -> list[Message]:
    source.wait(lambda each: "[DONE]" in each.data, "the end of the answer")
    return source.messages


def words(*said: str) -> Any:
    def script(conversation: Conversation) -> None:
        conversation.send(HEAD)
        for word in said:
            conversation.say(word)

    return script


def running(stack: Stack, user: str) -> list[str]:
    kept = stack.get("/v1/generations", stack.bearer(user)).json()["data"]
    return [each["id"] for each in kept if each["state"] == "running"]


def ended(stack: Stack, user: str, generation_id: str) -> dict[str, Any]:
    """The answer's state, once it has ended."""
    until(lambda: state(stack, user, generation_id)["state"] != "running", "the end of the answer")
    return state(stack, user, generation_id)
