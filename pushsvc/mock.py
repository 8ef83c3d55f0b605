"""The model that needs nobody: types an answer character by character, in the words of OpenAI's API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any, Final

import gevent
import orjson

from pushsvc import chunks, sse
from pushsvc.chunks import Json
from pushsvc.model import Call, Hearer

CHARACTER_SECONDS: Final = 0.01
MOST_QUOTED: Final = 200  # characters of the question

_ANSWER: Final = """\
You said: “{question}”

I am the model that comes with the service, so I know nothing, but I type well: one character at a time, as a large \
language model would send its tokens. Each of them is in Redis before you see it. So reload this page in the middle of \
a sentence, open it in a second tab, or let your phone sleep for a while: I go on where you left, and not a letter is \
lost or comes twice. ✔ Ünïcödé, 日本語 and 🚀 arrive whole, too. If you have heard enough, press Stop."""


class Mock:
    """Answers as an upstream does, through the same events and JSON."""

    def ask(self, body: bytes, hearer: Hearer) -> Call:
        request = orjson.loads(body)
        return _Streaming(request, hearer) if request.get("stream") else _Whole(request, hearer)


class _Call:
    """Goes on with every tick of a timer; a greenlet each would cost more."""

    def __init__(self, hearer: Hearer, steps: Iterator[None], seconds: float) -> None:
        self._hearer: Hearer | None = hearer
        self._steps = steps
        self._timer = gevent.get_hub().loop.timer(seconds, seconds)
        self._timer.start(self._tick)

    def _tick(self) -> None:
        hearer = self._hearer
        if hearer is not None and next(self._steps, False) is False:
            self.close()
            hearer.complete()

    def pause(self) -> None:
        self._timer.stop()

    def resume(self) -> None:
        if self._hearer is not None:
            self._timer.start(self._tick)

    def release(self) -> None:
        self.close()

    def close(self) -> None:
        if self._hearer is not None:
            self._hearer = None
            self._timer.stop()
            self._timer.close()


class _Streaming(_Call):
    def __init__(self, request: Json, hearer: Hearer) -> None:
        super().__init__(hearer, self._events(request, hearer), CHARACTER_SECONDS)

    @staticmethod
    def _events(request: Json, hearer: Hearer) -> Iterator[None]:
        head = _head(request, "chat.completion.chunk")
        options = request.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))

        def event(choices: list[Json], **members: Any) -> None:
            padding = {"usage": None} if usage else {}  # as the API has it: null until the last
            hearer.heard(sse.data_frame(orjson.dumps(head | {"choices": choices} | padding | members)))

        def step(delta: Json, finish_reason: str | None = None) -> None:
            event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])

        said, finish_reason = _answer(request)
        hearer.began(200, {"content-type": "text/event-stream"})
        yield
        step({"role": "assistant", "content": ""})
        for character in said:
            step({"content": character})
            yield
        step({}, finish_reason)
        if usage:
            event([], usage=_usage(request, said))
        hearer.heard(sse.DONE)


class _Whole(_Call):
    def __init__(self, request: Json, hearer: Hearer) -> None:
        super().__init__(hearer, self._body(request, hearer), 10 * CHARACTER_SECONDS)

    @staticmethod
    def _body(request: Json, hearer: Hearer) -> Iterator[None]:
        said, finish_reason = _answer(request)
        message = {"role": "assistant", "content": said, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        usage = _usage(request, said)
        hearer.began(200, {"content-type": "application/json"})
        hearer.heard(orjson.dumps(_head(request, "chat.completion") | {"choices": [choice], "usage": usage}))
        return
        yield


def _head(request: Json, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": request.get("model") or "mock",
    }


def _answer(request: Json) -> tuple[str, str]:
    """What is said, and why it ends there. A character is a token."""
    said = _ANSWER.format(question=_question(request["messages"])[:MOST_QUOTED])
    most = request.get("max_completion_tokens") or request.get("max_tokens")
    if isinstance(most, int) and 0 < most < len(said):
        return said[:most], "length"
    return said, "stop"


def _question(messages: list[Any]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            return chunks.said_in(message)
    return ""


def _usage(request: Json, said: str) -> Json:
    prompt = sum(len(chunks.said_in(message)) for message in request["messages"])
    return {"prompt_tokens": prompt, "completion_tokens": len(said), "total_tokens": prompt + len(said)}
