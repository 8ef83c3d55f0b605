"""A model's server that speaks the Responses API itself. It is asked in the words of the client; each of its events is
a chunk in the log, which has the event as it came beside what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from pushsvc.events import sse
from pushsvc.events.sse_parser import TooLong
from pushsvc.llm.dialects.responses.events import NATIVE
from pushsvc.llm.dialects.translating import dumps, read
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.making import sizes
from pushsvc.llm.models.base import Call, Fault, Model, Passed, ResponseHandler
from pushsvc.llm.models.body import Body, Unreadable
from pushsvc.llm.routing.router import Router

PATH: Final = "/responses"
_TEXTS: Final = {
    "response.output_text.delta": "content",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning_content",
    "response.reasoning_summary_text.delta": "reasoning_content",
}
_ARGUMENTS: Final = {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
_REASONS: Final = {"response.completed": "stop", "response.incomplete": "length"}


class NativeBody(bytes):
    """A question in the words of the Responses API."""


class WithResponses:
    """A model whose server is asked a NativeBody by the Responses API, and all else as ever."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def ask(self, body: bytes, handler: ResponseHandler, headers: Mapping[str, str]) -> Call:
        """See Model."""
        if not isinstance(body, NativeBody):
            return self._model.ask(body, handler, headers)
        passed = {**headers, "content-type": "application/json"}
        return self._model.pass_on(Passed(PATH, "", body, passed), _Chunks(handler))

    def list(self, name: str | None, handler: ResponseHandler) -> Call:
        """See Model."""
        return self._model.list(name, handler)

    def problems(self) -> Sequence[str]:
        """The faults of the models' servers, as sentences."""
        return self._model.problems() if isinstance(self._model, Router) else []

    def pass_on(self, request: Passed, handler: ResponseHandler) -> Call:
        """See Model."""
        return self._model.pass_on(request, handler)


class _Chunks:
    """Gives a handler the response of such a server as chunks of a chat completion."""

    def __init__(self, handler: ResponseHandler) -> None:
        self.user: str = getattr(handler, "user", "")
        self._handler = handler
        self._body: Body | None = None  # None: it is passed as it comes, because it is a refusal
        self._begun: Json = {}  # the members that each chunk has

    def began(self, status: int, headers: dict[str, str]) -> None:
        """See ResponseHandler."""
        if not 200 <= status < 300:
            self._handler.began(status, headers)
            return
        try:
            self._body = Body(headers, sizes.MOST_ANSWER, sizes.MOST_EVENT)
        except Unreadable as error:
            self.failed(Fault("upstream_malformed", str(error)))
            return
        plain = {name: value for name, value in headers.items() if name != "content-encoding"}
        self._handler.began(status, plain | {"content-type": "text/event-stream"})

    def heard(self, body: bytes) -> None:
        """See ResponseHandler."""
        if self._body is None:
            self._handler.heard(body)
            return
        try:
            events = self._body.feed(body)
        except (Unreadable, TooLong) as error:
            self._say(
                {"error": {"message": f"The model sent what is no event: {error}.", "code": "upstream_malformed"}}
            )
            return
        self._tell(events)

    def complete(self) -> None:
        """See ResponseHandler."""
        if self._body is not None:
            self._tell(self._body.finish())
            if self._body.document:
                self._tell_whole(self._body.document)
        self._handler.complete()

    def failed(self, fault: Fault) -> None:
        """See ResponseHandler."""
        self._handler.failed(fault)

    def _tell(self, events: list[bytes]) -> None:
        for data in events:
            if data.strip() and data.strip() != b"[DONE]":
                self._tell_event(data)

    def _tell_event(self, data: bytes) -> None:
        try:
            event = read(data)
        except ValueError:
            self._say({"error": {"message": "The model sent what cannot be read.", "code": "upstream_malformed"}})
            return
        kind = str(event.get("type"))
        if kind in ("error", "response.failed"):
            held = event.get("response")
            self._say({"error": (held.get("error") if isinstance(held, dict) else None) or _error(event)})
            return
        held = event.get("response")
        if isinstance(held, dict):
            self._begun |= {name: held[name] for name in ("id", "model") if held.get(name)}
        chunk = self._begun | {"choices": [_choice(kind, event)]} | _usage(held)
        said = dumps(chunk)[:-1] + b',"%b":%b}' % (NATIVE.encode(), data.strip())
        self._handler.heard(sse.data_frame(said))

    def _tell_whole(self, document: bytes) -> None:
        """Tell a response that came whole, though a stream was asked for."""
        response = orjson.loads(document)
        if not isinstance(response, dict) or response.get("object") != "response":
            self._say({"error": {"message": "The model sent no response.", "code": "upstream_malformed"}})
            return
        created = {"type": "response.created", "response": response | {"status": "in_progress", "output": []}}
        status = response.get("status") or "completed"
        self._tell([dumps(each) for each in (created, *_said(response))])
        self._tell([dumps({"type": f"response.{status}", "response": response})])

    def _say(self, chunk: Json) -> None:
        self._handler.heard(sse.data_frame(dumps(chunk)))


def _said(response: Json) -> list[Json]:
    found: list[Json] = []
    for place, item in enumerate(response.get("output") or ()):
        found += [
            {"type": "response.output_item.added", "output_index": place, "item": item},
            *_parts(place, item),
            {"type": "response.output_item.done", "output_index": place, "item": item},
        ]
    return found


def _parts(place: int, item: Json) -> list[Json]:
    names: Json = {"output_index": place, "item_id": item.get("id"), "logprobs": []}
    return [
        {"type": "response.output_text.delta", "content_index": number, "delta": part.get("text") or ""} | names
        for number, part in enumerate(item.get("content") or ())
        if item.get("type") == "message" and part.get("type") == "output_text"
    ]


def _error(event: Json) -> Json:
    named = event.get("error")
    held = named if isinstance(named, dict) else event
    return {"message": str(held.get("message") or "The model failed."), "code": held.get("code")}


def _choice(kind: str, event: Json) -> Json:
    delta: Json = {}
    if kind in _TEXTS:
        delta = {_TEXTS[kind]: event.get("delta") or ""}
    elif kind in _ARGUMENTS:
        delta = {"tool_calls": [{"index": event.get("output_index"), "function": {"arguments": event.get("delta")}}]}
    elif kind == "response.output_item.added":
        delta = _call(event, event.get("item"))
    return {"index": 0, "delta": delta, "finish_reason": _REASONS.get(kind)}


def _call(event: Json, item: Any) -> Json:
    if not isinstance(item, dict) or item.get("type") not in ("function_call", "custom_tool_call"):
        return {}
    function = {"name": item.get("name") or "", "arguments": item.get("arguments") or ""}
    call = {"index": event.get("output_index"), "id": item.get("call_id"), "type": "function", "function": function}
    return {"tool_calls": [call]}


def _usage(response: Any) -> Json:
    usage = response.get("usage") if isinstance(response, dict) else None
    if not isinstance(usage, dict):
        return {}
    asked, said = usage.get("input_tokens"), usage.get("output_tokens")
    count = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": usage.get("total_tokens")}
    return {"usage": count}
