"""The model that needs nobody: types what its script says, a character at a time, in the words of OpenAI's API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, Final

import gevent

from pushsvc.events import exact_json, sse
from pushsvc.llm import openai
from pushsvc.llm.joining import Json
from pushsvc.llm.models import script
from pushsvc.llm.models.base import Call, ResponseHandler
from pushsvc.llm.models.script import Answer

NAME: Final = "mock"
CHARACTER_SECONDS: Final = 0.01


class Mock:
    """Answers as an upstream does, through the same events and JSON."""

    def ask(self, body: bytes, hearer: ResponseHandler) -> Call:
        request = exact_json.loads(body)
        return _Streaming(request, hearer) if request.get("stream") else _Whole(_completion(request), hearer)

    def list(self, name: str | None, hearer: ResponseHandler) -> Call:
        itself = {"id": NAME, "object": "model", "created": 0, "owned_by": "pushsvc"}
        if name is None:
            return _Whole({"object": "list", "data": [itself]}, hearer)
        if name == NAME:
            return _Whole(itself, hearer)
        error = {"message": f"There is no model {name[:80]!r}; ask {NAME!r}.", "type": "invalid_request_error"}
        return _Whole({"error": error | {"param": "model", "code": "model_not_found"}}, hearer, 404)


class _Call:
    """Goes on with every tick of a timer; a greenlet each would cost more."""

    def __init__(self, hearer: ResponseHandler, steps: Iterator[None], seconds: float) -> None:
        self._hearer: ResponseHandler | None = hearer
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
    def __init__(self, request: Json, hearer: ResponseHandler) -> None:
        super().__init__(hearer, self._events(request, hearer), CHARACTER_SECONDS)

    @staticmethod
    def _events(request: Json, hearer: ResponseHandler) -> Iterator[None]:
        head = _head(request, "chat.completion.chunk")
        options = request.get("stream_options")
        usage = isinstance(options, dict) and bool(options.get("include_usage"))

        def event(choices: list[Json], **members: Any) -> None:
            padding = {"usage": None} if usage else {}  # as the API has it: null until the last
            value = head | {"choices": choices} | padding | members
            hearer.heard(sse.data_frame(exact_json.dumps(value, lone=True)))

        def step(index: int, delta: Json, finish_reason: str | None = None) -> None:
            event([{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])

        answers = script.answers(request)
        hearer.began(200, {"content-type": "text/event-stream"})
        yield
        for index in range(len(answers)):
            step(index, {"role": "assistant", "content": ""})
        for deltas in zip_longest(*(answer.deltas() for answer in answers)):
            for index, delta in enumerate(deltas):
                if delta is not None:
                    step(index, delta)
            yield
        for index, answer in enumerate(answers):
            step(index, {}, answer.finish_reason)
        if usage:
            event([], usage=_usage(request, answers))
        hearer.heard(sse.DONE)


class _Whole(_Call):
    """`document`: what is answered, at once."""

    def __init__(self, document: Json, hearer: ResponseHandler, status: int = 200) -> None:
        super().__init__(hearer, self._body(document, hearer, status), 10 * CHARACTER_SECONDS)

    @staticmethod
    def _body(document: Json, hearer: ResponseHandler, status: int) -> Iterator[None]:
        hearer.began(status, {"content-type": "application/json"})
        hearer.heard(exact_json.dumps(document, lone=True))
        return
        yield


def _completion(request: Json) -> Json:
    answers = script.answers(request)
    choices = [
        {"index": index, "message": answer.message(), "logprobs": None, "finish_reason": answer.finish_reason}
        for index, answer in enumerate(answers)
    ]
    return _head(request, "chat.completion") | {"choices": choices, "usage": _usage(request, answers)}


def _head(request: Json, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": request.get("model") or NAME,
    }


def _usage(request: Json, answers: list[Answer]) -> Json:
    """A character is a token."""
    prompt = sum(len(openai.said_in(message)) for message in request["messages"])
    said = sum(len(answer.text) for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
