"""The built-in model, which needs no server: it answers in OpenAI's format, one character at a time (script.py)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final

import gevent
import orjson

from pushsvc.events import exact_json, sse
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.models import script
from pushsvc.llm.models.base import Call, Passed, ResponseHandler
from pushsvc.llm.models.script import Answer

NAME: Final = "mock"
CHARACTER_SECONDS: Final = 0.01


class Mock:
    """Answers as an Upstream does, with the same events and JSON."""

    def ask(self, body: bytes, handler: ResponseHandler, headers: Mapping[str, str]) -> Call:  # noqa: ARG002
        """Answer with what `script.py` says; see Model."""
        try:
            request = orjson.loads(body)  # a question may be of megabytes, and hardly a digit of it is said again
        except orjson.JSONDecodeError:
            request = exact_json.loads(body)
        return _Streaming(request, handler) if request.get("stream") else _Whole(_completion(request), handler)

    def list(self, name: str | None, handler: ResponseHandler) -> Call:
        """Answer with the one model there is; see Model."""
        itself = {"id": NAME, "object": "model", "created": 0, "owned_by": "pushsvc"}
        if name is None:
            return _Whole({"object": "list", "data": [itself]}, handler)
        if name == NAME:
            return _Whole(itself, handler)
        error = {"message": f"There is no model {name[:80]!r}; ask {NAME!r}.", "type": "invalid_request_error"}
        return _Whole({"error": error | {"param": "model", "code": "model_not_found"}}, handler, 404)

    def pass_on(self, request: Passed, handler: ResponseHandler) -> Call:
        """Refuse: the built-in model has nothing but answers; see Model."""
        error = {
            "message": f"The built-in model has no {request.path}.",
            "type": "not_found_error",
            "code": "not_found",
        }
        return _Whole({"error": error}, handler, 404)


class _Call:
    """A call that makes one step with every tick of a timer; a greenlet for each would cost more."""

    def __init__(self, handler: ResponseHandler, steps: Iterator[None], seconds: float) -> None:
        self._handler: ResponseHandler | None = handler
        self._steps = steps
        self._timer = gevent.get_hub().loop.timer(seconds, seconds)
        self._timer.start(self._tick)

    def _tick(self) -> None:
        handler = self._handler
        if handler is not None and next(self._steps, False) is False:
            self.close()
            handler.complete()

    def pause(self) -> None:
        """Stop for a while; see Call."""
        self._timer.stop()

    def resume(self) -> None:
        """Go on; see Call."""
        if self._handler is not None:
            self._timer.start(self._tick)

    def release(self) -> None:
        """Stop for good; see Call."""
        self.close()

    def close(self) -> None:
        """Stop for good. Harmless when repeated."""
        if self._handler is not None:
            self._handler = None
            self._timer.stop()
            self._timer.close()


class _Streaming(_Call):
    def __init__(self, request: Json, handler: ResponseHandler) -> None:
        # The request is not kept: it may be of megabytes.
        head, answers, options = (
            _head(request, "chat.completion.chunk"),
            script.answers(request),
            request.get("stream_options"),
        )
        usage = _usage(request, answers) if isinstance(options, dict) and options.get("include_usage") else None
        super().__init__(handler, self._events(head, answers, usage, handler), CHARACTER_SECONDS)

    @staticmethod
    def _events(head: Json, answers: list[Answer], usage: Json | None, handler: ResponseHandler) -> Iterator[None]:

        def event(choices: list[Json], **members: Any) -> None:
            padding = (
                {"usage": None} if usage is not None else {}
            )  # as in OpenAI's API: null in all chunks but the last
            value = head | {"choices": choices} | padding | members
            handler.heard(sse.data_frame(exact_json.dumps(value, lone=True)))

        def step(index: int, delta: Json, finish_reason: str | None = None) -> None:
            event([{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])

        handler.began(200, {"content-type": "text/event-stream"})
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
        if usage is not None:
            event([], usage=usage)
        handler.heard(sse.DONE)


class _Whole(_Call):
    """A call that is answered with a document."""

    def __init__(self, document: Json, handler: ResponseHandler, status: int = 200) -> None:
        super().__init__(handler, self._body(document, handler, status), 10 * CHARACTER_SECONDS)

    @staticmethod
    def _body(document: Json, handler: ResponseHandler, status: int) -> Iterator[None]:
        handler.began(status, {"content-type": "application/json"})
        handler.heard(exact_json.dumps(document, lone=True))
        yield from ()  # a generator, though it takes no step


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
    """The count of tokens; each character counts as one."""
    prompt = sum(len(openai.said_in(message)) for message in request["messages"])
    said = sum(len(answer.text) for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}
