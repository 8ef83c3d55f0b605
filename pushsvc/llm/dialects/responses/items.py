"""The items of a response, and the messages of chat completions that they are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pushsvc.errors import Invalid
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json

MOST_REFERENCES: Final = 100  # of one request

FindItems = Callable[[Sequence[str]], Mapping[str, Json]]
_ROLES: Final = frozenset({"user", "system", "developer", "assistant"})
_CALLS: Final = {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
_OUTPUTS: Final = {"function_call_output", "custom_tool_call_output"}


def untranslated(name: str, why: str = "") -> Invalid:
    """The error for what has no counterpart in chat completions, which is all that the model's server speaks."""
    what = why or "has no counterpart in chat completions, which the model's server speaks"
    return Invalid.field(name, f"{what}; it cannot be translated.")


def messages_of(given: Any, find: FindItems) -> list[Json]:
    """The messages of a request's `input`. `find`: gives the items of earlier responses with these ids, as
    far as there are such. Raises Invalid, which names the item."""
    if given is None:
        return []
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise Invalid.field("input", "must be a string, or a list of items.")
    names = _references(given)
    items = find(names) if names else {}
    found: list[Json] = []
    for number, item in enumerate(given):
        name = f"input[{number}]"
        kind = _kind(item, name)
        if kind == "item_reference":
            item = items.get(item["id"])
            if item is None:
                raise Invalid.field(f"{name}.id", "is no item of your responses.")
            kind = _kind(item, name)
        _add(found, item, kind, name)
    return found


def _references(given: Sequence[Any]) -> list[str]:
    """The ids of the items to which the `input` refers, as often as it does. Raises Invalid."""
    found: list[str] = []
    for number, item in enumerate(given):
        name = f"input[{number}]"
        if _kind(item, name) == "item_reference":
            found.append(_string(item, "id", name))
            if len(found) > MOST_REFERENCES:
                raise Invalid.field(name, f"is one reference more than the {MOST_REFERENCES} of a request.")
    return found


def _kind(item: Any, name: str) -> Any:
    if not isinstance(item, dict):
        raise Invalid.field(name, "must be an object.")
    return item.get("type") or ("message" if "role" in item else "item_reference" if "id" in item else None)


def _add(found: list[Json], item: Json, kind: Any, name: str) -> None:
    if kind == "message":
        found.append(_message(item, name))
    elif kind in _CALLS:
        _add_call(found, item, kind, name)
    elif kind in _OUTPUTS:
        output = item.get("output")
        content = output if isinstance(output, str) else _parts(output, f"{name}.output", only_text=True)
        found.append({"role": "tool", "tool_call_id": _string(item, "call_id", name), "content": content})
    elif kind != "reasoning":  # a model's thoughts are not told to it again
        raise untranslated(f"{name}.type", f"{str(kind)[:80]!r} has no counterpart in chat completions")


def _message(item: Json, name: str) -> Json:
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        raise Invalid.field(f"{name}.role", f"must be one of {', '.join(sorted(_ROLES))}.")
    if not isinstance(content, str):
        content = _parts(content, f"{name}.content", only_text=role == "assistant")
    return {"role": role, "content": content}


def _add_call(found: list[Json], item: Json, kind: str, name: str) -> None:
    """Add a call of a tool to the assistant's message before it: chat completions have all calls of a turn in one."""
    word, member = _CALLS[kind]
    called = {"name": _string(item, "name", name), member: _string(item, member, name)}
    call = {"id": _string(item, "call_id", name), "type": word, word: called}
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": None})
    found[-1].setdefault("tool_calls", []).append(call)


def _string(item: Json, member: str, name: str) -> str:
    value = item.get(member)
    if not isinstance(value, str):
        raise Invalid.field(f"{name}.{member}", "must be a string.")
    return value


def _parts(given: Any, name: str, *, only_text: bool) -> Any:
    """The content of a message. `only_text`: chat completions have nothing else there."""
    if not isinstance(given, list):
        raise Invalid.field(name, "must be a string, or a list of parts.")
    parts = [_part(part, f"{name}[{number}]") for number, part in enumerate(given)]
    if not only_text:
        return parts
    for number, part in enumerate(parts):
        if part["type"] != "text":
            raise untranslated(f"{name}[{number}]", "is no text, and chat completions have only text there")
    return "".join(part["text"] for part in parts)


def _part(part: Any, name: str) -> Json:
    if not isinstance(part, dict):
        raise Invalid.field(name, "must be an object.")
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": _string(part, "text", name)}
    if kind == "refusal":
        return {"type": "text", "text": _string(part, "refusal", name)}
    if kind == "input_image":
        if not isinstance(part.get("image_url"), str):
            raise untranslated(f"{name}.file_id" if part.get("file_id") else f"{name}.image_url")
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"]} | detail}
    if kind == "input_file" and not part.get("file_url"):
        held = {key: part[key] for key in ("file_data", "file_id", "filename") if part.get(key)}
        return {"type": "file", "file": held}
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    raise untranslated(f"{name}.file_url" if kind == "input_file" else f"{name}.type")


def items_of(messages: Sequence[Any], prefix: str) -> list[Json]:
    """The items that messages of chat completions are. `prefix`: of their ids, which are told in the same order."""
    found: list[Json] = []
    for message in messages:
        role = message.get("role")
        if role == "tool":
            output = {"type": "function_call_output", "call_id": message.get("tool_call_id") or ""}
            found.append(output | {"output": openai.said_in(message), "status": "completed"})
            continue
        if message.get("content") or role != "assistant":
            found.append(_message_item(message))
        found += [_call_item(call) for call in message.get("tool_calls") or ()]
    return [{"id": f"{_letters(item)}_{prefix}_{number}"} | item for number, item in enumerate(found)]


def _letters(item: Json) -> str:
    return {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc"}.get(item["type"], "out")


def _message_item(message: Json) -> Json:
    role, content = message.get("role"), message.get("content")
    item = {"type": "message", "status": "completed", "role": role}
    if role == "assistant":
        text = {"type": "output_text", "text": openai.said_in(message), "annotations": [], "logprobs": []}
        return item | {"content": [text]}
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    return item | {"content": [_input_part(part) for part in parts]}


def _input_part(part: Json) -> Json:
    kind = part.get("type")
    if kind == "image_url":
        held = part.get("image_url") or {}
        return {"type": "input_image", "image_url": held.get("url"), "detail": held.get("detail") or "auto"}
    if kind == "file":
        held = part.get("file")
        return {"type": "input_file"} | (held if isinstance(held, dict) else {})
    if kind == "input_audio":
        return dict(part)
    return {"type": "input_text", "text": part.get("text") or ""}


def _call_item(call: Json) -> Json:
    if call.get("type") == "custom":
        custom = call.get("custom") or {}
        called = {"name": custom.get("name") or "", "input": custom.get("input") or ""}
        return {"type": "custom_tool_call", "call_id": call.get("id") or ""} | called
    function = call.get("function") or {}
    item = {"type": "function_call", "status": "completed", "call_id": call.get("id") or ""}
    return item | {"name": function.get("name") or "", "arguments": function.get("arguments") or ""}
