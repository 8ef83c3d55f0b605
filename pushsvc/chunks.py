"""Answers in the words of OpenAI's API: chunks of one that is streamed, and the completion that they make together
(API reference, "Chat Completions"). What is not known here is passed on as it came. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from pushsvc import sse

Json = dict[str, Any]

_SAID_ONCE: Final = frozenset({"role", "id", "type", "name"})  # in deltas; some servers repeat them
_CHARACTERS_PER_TOKEN: Final = 4  # a rule of thumb for English
_MOST_DEPTH: Final = 100  # of lists and objects in each other: what is read must also be written, and by recursion


class Malformed(ValueError):
    """Not what this API says an answer looks like."""


class Chunk(NamedTuple):
    """As it came, and as it reads."""

    raw: bytes
    value: Json


def parse(raw: bytes) -> Chunk:
    """Raises Malformed."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"a chunk is not valid JSON: {error}") from error
    if is_deep(raw, value):
        raise Malformed("a chunk is nested too deeply")
    if not isinstance(value, dict):
        raise Malformed("a chunk is no JSON object")
    choices = value.get("choices")
    if choices is not None and not isinstance(choices, list):
        raise Malformed("the choices of a chunk are no list")
    for choice in choices or ():
        if not _is_choice(choice):
            raise Malformed("a choice of a chunk is not what it should be")
    return Chunk(raw, value)


def _is_choice(choice: Any) -> bool:
    if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
        return False
    return all(isinstance(choice.get(name), dict | None) for name in ("delta", "message"))


def is_deep(raw: bytes, value: Any) -> bool:
    """Whether JSON is nested too deeply to be worked with. `value`: what `raw` says."""
    return raw.count(b"[") + raw.count(b"{") > _MOST_DEPTH and _is_deeper(value, _MOST_DEPTH)


def _is_deeper(value: Any, most: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_is_deeper(each, most - 1) for each in inner)


def error_of(value: Json) -> Json | None:
    """What servers send in the middle of a stream when they fail."""
    error = value.get("error")
    if not error:
        return None
    return error if isinstance(error, dict) else {"message": str(error)}


def frames(chunks: Sequence[Chunk]) -> list[bytes]:
    """Their events. Text that came together is joined into one."""
    if len(chunks) == 1:
        return [sse.data_frame(chunks[0].raw)]
    found: list[bytes] = []
    first, texts = chunks[0], list[str]()
    for chunk in chunks:
        text = _only_text(chunk.value)
        if texts and (text is None or not _alike(first.value, chunk.value)):
            found.append(_said(first, texts))
            texts = []
        if text is None:
            found.append(sse.data_frame(chunk.raw))
            continue
        if not texts:
            first = chunk
        texts.append(text)
    return [*found, _said(first, texts)] if texts else found


def _only_text(value: Json) -> str | None:
    """The text of a chunk that carries nothing else."""
    choices: list[Json] = value.get("choices") or []
    if len(choices) != 1 or value.get("usage") is not None:
        return None
    for key, item in choices[0].items():
        if item is not None and key not in ("delta", "index"):
            return None
    delta = choices[0].get("delta") or {}
    content = delta.get("content")
    return content if isinstance(content, str) and delta.keys() <= {"role", "content"} else None


def _alike(one: Json, other: Json) -> bool:
    """But for their text. What pads OpenAI's chunks to a common length may differ."""
    if one["choices"][0].get("index") != other["choices"][0].get("index") or len(one) != len(other):
        return False
    return all(key in ("choices", "obfuscation") or other.get(key) == item for key, item in one.items())


def _said(first: Chunk, texts: Sequence[str]) -> bytes:
    """All of the texts in the words of the first."""
    if len(texts) == 1:
        return sse.data_frame(first.raw)
    choice = first.value["choices"][0]
    delta = choice["delta"] | {"content": "".join(texts)}
    return sse.data_frame(orjson.dumps(first.value | {"choices": [choice | {"delta": delta}]}))


class _Text(list[str]):
    """A string that grows; adding to a str would copy all of it each time."""


class _Items(list[Any]):
    """A list that grows, and finds those of its items that have an index."""

    def __init__(self) -> None:
        super().__init__()
        self._by_index: dict[int, Json] = {}

    def at(self, index: int) -> Json:
        if index not in self._by_index:
            self._by_index[index] = {}
            self.append(self._by_index[index])
        return self._by_index[index]


def joined(values: Iterable[Json]) -> Json:
    """One chunk that says what these say one after the other; {} if there are none."""
    whole: Json = {}
    choices: dict[int, Json] = {}
    for value in values:
        for key, item in value.items():
            if key == "choices":
                for choice in item or ():
                    _join(choices.setdefault(choice.get("index", 0), {}), choice)
            elif item is not None and key != "obfuscation":  # the last word on usage counts, the first on the rest
                whole[key] = item if key == "usage" else whole.get(key, item)
    if whole or choices:
        whole["choices"] = [_finished(choices[index]) for index in sorted(choices)]
    return whole


def _join(whole: Json, piece: Mapping[str, Any]) -> None:
    for key, item in piece.items():
        held = whole.get(key)
        if item is None and held is not None:
            continue
        if isinstance(item, str) and key not in _SAID_ONCE and key != "finish_reason":
            if isinstance(held, _Text):
                held.append(item)
            else:
                whole[key] = _Text([item])
        elif isinstance(item, dict):
            if not isinstance(held, dict):
                held = whole[key] = {}
            _join(held, item)
        elif isinstance(item, list):
            if not isinstance(held, _Items):
                held = whole[key] = _Items()
            _join_list(held, item)
        elif held is None or key == "finish_reason":
            whole[key] = item


def _join_list(whole: _Items, piece: list[Any]) -> None:
    """Those with an index (tool calls) grow, others (log probabilities) follow."""
    for item in piece:
        index = item.get("index") if isinstance(item, dict) else None
        if isinstance(index, int):
            _join(whole.at(index), item)
        else:
            whole.append(item)


def _finished(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, dict):
        return {key: _finished(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finished(item) for item in value]
    return value


def completion(chunk: Json) -> Json:
    """What the API answers without streaming, made of a joined chunk."""
    choices = []
    for choice in chunk.get("choices", ()):
        delta = choice.get("delta") or {}
        message = {"role": "assistant", "content": None} | delta
        if isinstance(delta.get("tool_calls"), list):
            calls = [call for call in delta["tool_calls"] if isinstance(call, dict)]
            message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in calls]
        choices.append({"index": 0, "finish_reason": None} | {k: v for k, v in choice.items() if k != "delta"})
        choices[-1]["message"] = message
    return chunk | {"object": "chat.completion", "choices": choices}


def chunk_of(whole: Json) -> Json:
    """The other way: one chunk that says all of a completion."""
    choices = []
    for choice in whole.get("choices") or ():
        message = dict(_message(choice))
        if isinstance(message.get("tool_calls"), list):
            calls = [call for call in message["tool_calls"] if isinstance(call, dict)]
            message["tool_calls"] = [{"index": number} | call for number, call in enumerate(calls)]
        choices.append({k: v for k, v in choice.items() if k != "message"} | {"delta": message})
    return whole | {"object": "chat.completion.chunk", "choices": choices}


def text(whole: Json) -> str:
    """What the first choice of a completion says."""
    for choice in whole.get("choices") or ():
        return said_in(_message(choice))
    return ""


def _message(choice: Json) -> Json:
    """Of a completion that came as one document; some servers leave it out, or say null."""
    return choice.get("message") or {}


def finish_reason(whole: Json) -> str | None:
    for choice in whole.get("choices") or ():
        reason: str | None = choice.get("finish_reason")
        return reason
    return None


def usage(whole: Json, messages: Sequence[Any]) -> Json:
    """What the server counted; else an estimate, which says so."""
    given = whole.get("usage")
    if isinstance(given, dict):
        return given
    prompt = _tokens(_characters(messages))
    said = _tokens(_characters([_message(choice) for choice in whole.get("choices") or ()]))
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said, "estimated": True}


def _tokens(characters: int) -> int:
    return -(-characters // _CHARACTERS_PER_TOKEN)


def _characters(messages: Iterable[Any]) -> int:
    count = 0
    for message in messages:
        count += len(said_in(message))
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            count += len(arguments) if isinstance(arguments, str) else 0
    return count


def said_in(message: Mapping[str, Any]) -> str:
    """The text of a message, which may be one of several parts."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(each for each in texts if isinstance(each, str))
