"""The events of a response, numbered, made from the chunks of an answer (API reference, "Responses", "Streaming
events"). The same chunks give the same events and numbers, so a client resumes after any, on any worker. Pure."""

from __future__ import annotations

from typing import Any, Final

from pushsvc.llm.dialects.responses.output import CustomToolCall, Item, Message, Thoughts, ToolCall
from pushsvc.llm.dialects.translating import dumps
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json, index_of

_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_text", "thinking")  # members, by the model's server
_REASONS: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ENDED: Final = {"completed": "completed", "incomplete": "incomplete", "failed": "failed", "cancelled": "incomplete"}
NATIVE: Final = "native"  # the member of a chunk with the event of a server that speaks this API; see native.py
_CODES: Final = frozenset(
    {
        "server_error", "rate_limit_exceeded", "invalid_prompt", "invalid_image", "invalid_image_format",
        "invalid_base64_image", "invalid_image_url", "image_too_large", "image_too_small", "image_parse_error",
        "image_content_policy_violation", "invalid_image_mode", "image_file_too_large", "empty_image_file",
        "unsupported_image_media_type", "failed_to_download_image", "image_file_not_found", "vector_store_timeout",
    }
)  # fmt: skip


class ResponseEvents:
    """Translates one answer; see Translator."""

    def __init__(self, response: Json, *, prompt: int = 0, after: int = -1, native: bool = False) -> None:
        """`response`: with an id, and what it tells of its request; `prompt`: an estimate of its tokens; `after`: the
        number of the last event that the client has; `native`: the model's server speaks this API itself."""
        self._response = response | {"status": "in_progress", "output": [], "error": None, "incomplete_details": None}
        self._prefix = str(response["id"]).partition("_")[2]
        self._prompt = prompt
        self._after = after
        self.number = 0  # of the next event
        self._told: list[bytes] = []
        self._items: list[Item] = []
        self._calls: dict[int, ToolCall] = {}
        self._reason: str | None = None
        self._counted: Json = {}  # the members of chunks that count tokens
        self._over = False
        self._native = native

    def begin(self) -> bytes:
        """See Translator."""
        if not self._native:
            for kind in ("response.created", "response.in_progress"):
                self._tell(kind, response=self.value())
        return self._flush()

    def take(self, chunk: Json) -> bytes:
        """See Translator."""
        error = openai.error_of(chunk)
        if error is not None:
            self._fail(error)
        elif chunk.get("queue"):
            self._tell("response.queued", response=self.value() | {"status": "queued"})
        elif NATIVE in chunk:
            self._pass(chunk[NATIVE])
        else:
            self._count(chunk)
            for choice in chunk.get("choices") or ():
                if not index_of(choice):
                    self._hear(choice)
        return self._flush()

    def done(self) -> bytes:
        """See Translator."""
        if not self._over:
            reason = _REASONS.get(self._reason or "")
            self._response["incomplete_details"] = {"reason": reason} if reason else None
            self._end("incomplete" if reason else "completed")
        return self._flush()

    def value(self) -> Json:
        """The response so far."""
        if self._native:
            return self._response
        return self._response | {"output": [item.value() for item in self._items]}

    def _tell(self, kind: str, **members: Any) -> None:
        if self.number > self._after:
            event = {"type": kind, "sequence_number": self.number} | members
            self._told.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps(event)))
        self.number += 1

    def _flush(self) -> bytes:
        told, self._told = b"".join(self._told), []
        return told

    def _count(self, chunk: Json) -> None:
        if chunk.get("model"):
            self._response["model"] = chunk["model"]
        if chunk.get("service_tier"):
            self._response["service_tier"] = chunk["service_tier"]
        self._counted |= {name: chunk[name] for name in ("usage", "timings") if chunk.get(name)}

    def _hear(self, choice: Json) -> None:
        delta = choice.get("delta") or choice.get("message") or {}
        thoughts = next((delta[name] for name in _THOUGHTS if isinstance(delta.get(name), str) and delta[name]), None)
        if thoughts:
            self._last(Thoughts).add(thoughts)
        logprobs = _logprobs(choice.get("logprobs"))
        for member, kind in (("content", "output_text"), ("refusal", "refusal")):
            text = delta.get(member)
            text = openai.said_in(delta) if member == "content" and isinstance(text, list) else text
            if isinstance(text, str) and text:
                self._last(Message).add(kind, text, logprobs if kind == "output_text" else [])
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                self._hear_call(call)
        self._reason = choice.get("finish_reason") or self._reason

    def _last(self, kind: type[Any]) -> Any:
        """The item that grows, if it is of this kind, or a new one."""
        last = self._items[-1] if self._items else None
        if isinstance(last, kind) and last.status == "in_progress":
            return last
        return self._begin(kind(self._prefix, len(self._items), self._tell))

    def _begin(self, item: Any) -> Any:
        for each in self._items:
            each.end("completed")
        self._items.append(item)
        item.begin()
        return item

    def _hear_call(self, call: Json) -> None:
        index = call["index"] if isinstance(call.get("index"), int) else len(self._calls)
        custom = call.get("custom")
        called = custom if isinstance(custom, dict) else call.get("function") or {}
        held = self._calls.get(index)
        if held is None or (call.get("id") and call["id"] != held.call_id):
            make = CustomToolCall if isinstance(custom, dict) else ToolCall
            number, name = len(self._items), called.get("name") or ""
            call_id = call.get("id") or f"call_{self._prefix}_{number}"
            held = self._calls[index] = self._begin(make(self._prefix, number, self._tell, call_id, name))
        said = called.get("input") if isinstance(custom, dict) else called.get("arguments")
        if isinstance(said, str) and said:
            held.add(said)

    def _fail(self, error: Json) -> None:
        if self._over:
            return
        if error.get("code") == "cancelled":
            self._end("cancelled")
            return
        code = error.get("code")
        if error.get("status") == 429:
            code = "rate_limit_exceeded"
        message = str(error.get("message") or "The model failed.")
        self._response["error"] = {"code": code if code in _CODES else "server_error", "message": message}
        self._end("failed")

    def _end(self, status: str) -> None:
        self._over = True
        for item in self._items:
            item.end("completed" if status == "completed" else "incomplete")
        self._response["status"] = status
        if not self._native:
            self._response["usage"] = self._usage()
        self._tell(f"response.{_ENDED[status]}", response=self.value())

    def _usage(self) -> Json:
        said = [{"message": {"content": getattr(item, "said", "")}} for item in self._items]
        said += [{"message": part} for item in self._items for part in item.value().get("content", ())]
        usage = openai.usage(self._counted | {"choices": said}, self._prompt)
        prompt, answer = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        details = usage.get("prompt_tokens_details") or {}
        thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
        cached, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
        estimated = {"estimated": True} if usage.get("estimated") else {}
        return estimated | {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "output_tokens": answer,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": usage.get("total_tokens") or prompt + answer,
        }

    def _pass(self, event: Json) -> None:
        """Tell an event of the model's server as it is, but for the response's id and the events' numbers, which may be
        of another response, or skip some."""
        if self._over:
            return
        held = event.get("response")
        if isinstance(held, dict):
            self._response |= held | {"id": self._response["id"]} | _kept(self._response)
            event = event | {"response": self._response}
            self._over = self._response.get("status") in ("completed", "failed", "incomplete", "cancelled")
        kind = str(event.get("type") or "message")
        self._tell(kind, **{name: item for name, item in event.items() if name not in ("type", "sequence_number")})


def _kept(response: Json) -> Json:
    """The members that this service, and not the model's server, knows best."""
    names = ("background", "store", "metadata", "previous_response_id", "conversation", "created_at")
    return {name: response[name] for name in names if name in response}


def _logprobs(given: Any) -> list[Json]:
    content = given.get("content") if isinstance(given, dict) else None
    found = []
    for each in content if isinstance(content, list) else ():
        if isinstance(each, dict):
            top = [_logprob(one) for one in each.get("top_logprobs") or () if isinstance(one, dict)]
            found.append(_logprob(each) | {"top_logprobs": top})
    return found


def _logprob(each: Json) -> Json:
    return {"token": each.get("token") or "", "logprob": each.get("logprob") or 0.0, "bytes": each.get("bytes") or []}
