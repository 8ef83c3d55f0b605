"""A request of the AI SDK's chat, as a question of chat completions. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pushsvc.errors import Invalid
from pushsvc.events import exact_json
from pushsvc.llm.dialects.responses.items import untranslated
from pushsvc.llm.formats.joining import Json

MOST_ID: Final = 255  # characters
_ROLES: Final = frozenset({"system", "user", "assistant"})
_OURS: Final = frozenset(
    {"id", "messages", "trigger", "messageId", "interrupt", "stream", "stream_options", "conversation"}
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was checked. `chat`: its name; `answers`: the id of the message that the answer continues, None:
    it is a new one; `interrupt`: an answer of the chat that is being made is cancelled; `body`: the question."""

    chat: str
    answers: str | None
    interrupt: bool
    body: bytes


def read(given: Any) -> Request:
    """Check a request, and make the question, which asks for a stream with a count of tokens. Members that the AI SDK
    does not have, such as `model`, are the question's. Raises Invalid, which names the member."""
    if not isinstance(given, dict):
        raise Invalid("The body must be a JSON object.")
    chat, messages = given.get("id"), given.get("messages")
    if not isinstance(chat, str) or not 0 < len(chat) <= MOST_ID or not chat.isprintable():
        raise Invalid.field("id", f"must be a chat's id of at most {MOST_ID} characters.")
    if not isinstance(messages, list) or not messages:
        raise Invalid.field("messages", "must be a list of at least one message.")
    if not isinstance(given.get("interrupt"), bool | None):
        raise Invalid.field("interrupt", "must be true or false.")
    said = [each for number, message in enumerate(messages) for each in _messages(message, f"messages[{number}]")]
    body = {name: value for name, value in given.items() if name not in _OURS}
    body |= {"messages": said, "stream": True, "stream_options": {"include_usage": True}}
    last = messages[-1]
    answers = last.get("id") if last["role"] == "assistant" and isinstance(last.get("id"), str) else None
    return Request(chat, answers, given.get("interrupt") is not False, exact_json.dumps(body, lone=True))


def _messages(message: Any, name: str) -> list[Json]:
    """The messages of chat completions that one of the AI SDK is: an assistant's may have several steps."""
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise Invalid.field(name, "must be an object whose role is system, user or assistant.")
    parts = message.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise Invalid.field(f"{name}.parts", "must be a list of parts.")
    if message["role"] == "assistant":
        return _steps(parts)
    said = [_said(part, f"{name}.parts[{number}]") for number, part in enumerate(parts)]
    content = [each for each in said if each is not None]
    if all(each["type"] == "text" for each in content):
        return [{"role": message["role"], "content": "".join(each["text"] for each in content)}]
    return [{"role": message["role"], "content": content}]


def _said(part: Json, name: str) -> Json | None:
    """A part of a message of chat completions. None: it is for the page alone, as data parts are."""
    if part.get("type") == "text":
        return {"type": "text", "text": str(part.get("text") or "")}
    if part.get("type") != "file":
        return None
    url, kind = str(part.get("url") or ""), str(part.get("mediaType") or "")
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if not url.startswith("data:"):
        raise untranslated(f"{name}.url")
    if kind.startswith("audio/"):
        held = {"data": url.partition(",")[2], "format": kind.removeprefix("audio/").replace("mpeg", "mp3")}
        return {"type": "input_audio", "input_audio": held}
    return {"type": "file", "file": {"filename": part.get("filename") or "file", "file_data": url}}


def _steps(parts: list[Json]) -> list[Json]:
    found: list[Json] = []
    texts: list[str] = []
    calls: list[Json] = []
    outputs: list[Json] = []

    def end() -> None:
        if texts or calls:
            content = "".join(texts) if texts else None
            found.append({"role": "assistant", "content": content} | ({"tool_calls": list(calls)} if calls else {}))
            found.extend(outputs)
        texts.clear()
        calls.clear()
        outputs.clear()

    for part in parts:
        kind = str(part.get("type"))
        if kind == "step-start":
            end()
        elif kind == "text":
            if calls:  # what is said after a call belongs to the next step
                end()
            texts.append(str(part.get("text") or ""))
        elif kind == "dynamic-tool" or kind.startswith("tool-"):
            _add_call(part, kind, calls, outputs)
    end()
    return found


def _add_call(part: Mapping[str, Any], kind: str, calls: list[Json], outputs: list[Json]) -> None:
    """Add a call of a tool, and what the tool said; one without an output is not told to the model."""
    if part.get("state") not in ("output-available", "output-error"):
        return
    name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
    given = exact_json.dumps(part.get("input") if part.get("input") is not None else {}, lone=True).decode()
    call = {"id": str(part.get("toolCallId")), "type": "function", "function": {"name": name, "arguments": given}}
    output = part.get("output") if part["state"] == "output-available" else part.get("errorText")
    said = output if isinstance(output, str) else exact_json.dumps(output, lone=True).decode()
    calls.append(call)
    outputs.append({"role": "tool", "tool_call_id": call["id"], "content": said})
