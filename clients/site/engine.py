"""A model's server for the table of answers: says what the question asks for."""

from __future__ import annotations

import json
import threading
from typing import Final

from tests.support.models.model import HEAD, Conversation, Model, event

WORDS: Final = ("Once ", "ünï ", "日本 ", "🚀 ", "and ", "done.")
TEXT: Final = "".join(WORDS)
ARGUMENTS: Final = '{"city": "Zürich"}'
REFUSAL_HEADERS: Final = {
    "x-request-id": "req-7", "retry-after-ms": "20", "x-ratelimit-remaining-requests": "0", "x-should-retry": "false",
}  # fmt: skip


class Engine:
    def __init__(self) -> None:
        self.model = Model()
        self.model.script = self._answer
        self.go_on = threading.Event()  # what an answer to "slow" waits for, after its first word

    def close(self) -> None:
        self.go_on.set()
        self.model.close()

    def asked(self, question: str) -> int:
        """The number of times that this question was asked."""
        return sum(question in each.body.decode() for each in self.model.conversations)

    def _answer(self, conversation: Conversation) -> None:
        question, streamed = conversation.body.decode(), conversation.json.get("stream")
        if "refuse" in question:
            body = json.dumps({"error": {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded"}})
            headers = [f"{name}: {value}" for name, value in REFUSAL_HEADERS.items()]
            conversation.answer("429 Too Many Requests", body.encode(), "application/json", *headers)
        elif '"tool"' in question or "weather" not in question:  # the tool's result is there, or there is no tool
            self._say(conversation, streamed, slow="slow" in question)
        elif streamed:
            self._call_streamed(conversation)
        else:
            call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
            _whole(conversation, {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")

    def _say(self, conversation: Conversation, streamed: bool, *, slow: bool) -> None:
        if not streamed:
            _whole(conversation, {"role": "assistant", "content": TEXT}, "stop")
            return
        conversation.send(HEAD)
        for count, word in enumerate(WORDS):
            if slow and count == 1:
                self.go_on.wait(60)
            conversation.say(word)
        conversation.done()

    @staticmethod
    def _call_streamed(conversation: Conversation) -> None:
        conversation.send(HEAD)
        first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
        pieces = [{"index": 0, "function": {"arguments": piece}} for piece in (ARGUMENTS[:7], ARGUMENTS[7:])]
        for delta in (
            {"role": "assistant", "content": None, "tool_calls": [first]},
            *({"tool_calls": [p]} for p in pieces),
        ):
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            conversation.chunk(event(None, choices=[choice]))
        conversation.done("tool_calls")


def _whole(conversation: Conversation, message: dict[str, object], finish_reason: str) -> None:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }
    conversation.answer("200 OK", json.dumps(value).encode())
