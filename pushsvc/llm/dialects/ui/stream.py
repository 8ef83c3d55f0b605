"""The stream of an answer for the AI SDK's pages (ai-sdk.dev, "Stream Protocols", "UI message stream"). Pure."""

from __future__ import annotations

from typing import Any, Final

from pushsvc.events import exact_json, sse
from pushsvc.llm.dialects.translating import dumps
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json, index_of

HEADERS: Final = {"x-vercel-ai-ui-message-stream": "v1"}
_THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_text", "thinking")  # members, by the model's server
_REASONS: Final = {
    "stop": "stop", "length": "length", "content_filter": "content-filter", "tool_calls": "tool-calls",
    "function_call": "tool-calls",
}  # fmt: skip


class UIMessageStream:
    """Translates one answer; see Translator."""

    def __init__(self, generation_id: str, message_id: str) -> None:
        """`message_id`: of the message that the answer is, or goes on with."""
        self._metadata: Json = {"generationId": generation_id}
        self._message_id = message_id
        self._prefix = generation_id.removeprefix("gen_")
        self._told: list[bytes] = []
        self._open: tuple[str, str] | None = None  # the kind and the id of the part that grows
        self._parts = 0
        self._calls: dict[int, Json] = {}  # those whose arguments are still coming
        self._reason: str | None = None
        self._over = False

    def begin(self) -> bytes:
        """See Translator."""
        self._tell("start", messageId=self._message_id, messageMetadata=self._metadata)
        self._tell("start-step")
        return self._flush()

    def take(self, chunk: Json) -> bytes:
        """See Translator."""
        error = openai.error_of(chunk)
        if error is not None:
            self._fail(error)
            return self._flush()
        if chunk.get("queue"):
            self._tell("data-queue", data=chunk["queue"], transient=True)
            return self._flush()
        for name in ("model", "usage"):
            if chunk.get(name):
                self._metadata[name] = chunk[name]
        for choice in chunk.get("choices") or ():
            if not index_of(choice):
                self._hear(choice)
        return self._flush()

    def done(self) -> bytes:
        """See Translator."""
        if not self._over:
            self._close()
            self._end_calls()
            self._tell("finish-step")
            reason = _REASONS.get(self._reason or "", "other")
            self._tell("finish", finishReason=reason, messageMetadata=self._metadata)
        self._told.append(sse.DONE)
        return self._flush()

    def _fail(self, error: Json) -> None:
        self._over = True
        self._close()
        if error.get("code") == "cancelled":
            self._tell("abort", reason="cancelled")
        else:
            self._tell("error", errorText=str(error.get("message") or "The model failed."))

    def _tell(self, kind: str, **members: Any) -> None:
        self._told.append(sse.data_frame(dumps({"type": kind} | members)))

    def _flush(self) -> bytes:
        told, self._told = b"".join(self._told), []
        return told

    def _hear(self, choice: Json) -> None:
        delta = choice.get("delta") or choice.get("message") or {}
        thoughts = next((delta[name] for name in _THOUGHTS if isinstance(delta.get(name), str) and delta[name]), None)
        if thoughts:
            self._grow("reasoning", thoughts)
        text = delta.get("content")
        text = openai.said_in(delta) if isinstance(text, list) else text
        for each in (text, delta.get("refusal")):
            if isinstance(each, str) and each:
                self._grow("text", each)
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                self._hear_call(call)
        self._hear_others(delta)
        self._reason = choice.get("finish_reason") or self._reason

    def _grow(self, kind: str, text: str) -> None:
        if self._open is None or self._open[0] != kind:
            self._close()
            self._parts += 1
            self._open = kind, f"{kind}_{self._prefix}_{self._parts}"
            self._tell(f"{kind}-start", id=self._open[1])
        self._tell(f"{kind}-delta", id=self._open[1], delta=text)

    def _close(self) -> None:
        if self._open is not None:
            self._tell(f"{self._open[0]}-end", id=self._open[1])
            self._open = None

    def _hear_call(self, call: Json) -> None:
        self._close()
        index = call["index"] if isinstance(call.get("index"), int) else len(self._calls)
        called = call.get("function") or call.get("custom") or {}
        held = self._calls.get(index)
        if held is None or (call.get("id") and call["id"] != held["id"]):
            if held is not None:
                self._end_call(held)
            name, call_id = called.get("name") or "", call.get("id") or f"call_{self._prefix}_{index}"
            held = self._calls[index] = {"id": call_id, "name": name, "said": []}
            self._tell("tool-input-start", toolCallId=call_id, toolName=name)
        said = called.get("arguments", called.get("input"))
        if isinstance(said, str) and said:
            held["said"].append(said)
            self._tell("tool-input-delta", toolCallId=held["id"], inputTextDelta=said)

    def _end_calls(self) -> None:
        for held in self._calls.values():
            self._end_call(held)

    def _end_call(self, held: Json) -> None:
        text = "".join(held["said"])
        call = {"toolCallId": held["id"], "toolName": held["name"]}
        try:
            given = exact_json.loads(text.encode(errors="surrogatepass")) if text else {}
        except exact_json.NotJson as error:
            self._tell("tool-input-error", **call, input=text, errorText=f"The arguments are not JSON: {error}")
        else:
            self._tell("tool-input-available", **call, input=given)

    def _hear_others(self, delta: Json) -> None:
        """Pages that the model names, and images that it makes, as some servers send them."""
        for each in delta.get("annotations") or ():
            cited = each.get("url_citation") if isinstance(each, dict) else None
            if isinstance(cited, dict) and isinstance(cited.get("url"), str):
                self._parts += 1
                title = {"title": cited["title"]} if isinstance(cited.get("title"), str) else {}
                self._tell("source-url", sourceId=f"source_{self._prefix}_{self._parts}", url=cited["url"], **title)
        for each in delta.get("images") or ():
            held = each.get("image_url") if isinstance(each, dict) else None
            url = held.get("url") if isinstance(held, dict) else None
            if isinstance(url, str):
                kind = url[5:].partition(";")[0] if url.startswith("data:") else "image/*"
                self._tell("file", url=url, mediaType=kind)
