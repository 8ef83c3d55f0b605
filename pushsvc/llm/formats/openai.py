"""Answers in the format of OpenAI's API: the chunks of a streamed answer, and the completion that they make together
(API reference, "Chat Completions"). Unknown members are passed on unchanged. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from pushsvc.events import exact_json, sse, structure
from pushsvc.llm.formats import counting
from pushsvc.llm.formats.joining import GROWING, SAYING, Json

_CHARACTERS_PER_TOKEN: Final = 4  # a rule of thumb for English
# At the top level of chunks, and no part of an answer; `native`: see dialects/responses/native.py.
_PROGRESS: Final = frozenset({"prompt_progress", "native", "queue"})
MOST_DEPTH: Final = 100  # of nested lists and objects, because values are written by recursion


class Malformed(ValueError):
    """The text is not JSON, or not an answer as the API describes it."""


class Chunk(NamedTuple):
    """A chunk. `raw`: as it came, or as JSON if it came with NaN or infinities; `value`: as parsed, so its numbers may
    have lost digits; or that of a chunk which differs only in its text (see Alike)."""

    raw: bytes
    value: Json


def parse(raw: bytes) -> Chunk:
    """Read a chunk. Raises Malformed."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raw, value = _patiently(raw)
    if is_deep(raw):
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


def _patiently(raw: bytes) -> tuple[bytes, Any]:
    """Read JSON that orjson refuses: with numbers of any size, or with halves of surrogate pairs, which occur where one
    character is several tokens. Python's NaN and infinities, which log probabilities may be, are written as JSON."""
    try:
        if _NO_NUMBER.search(raw) is None:
            return raw, exact_json.loads(raw)
        value = exact_json.loads_leniently(raw)
        return exact_json.dumps(value, lone=True), value
    except ValueError as error:
        raise Malformed(f"a chunk is not valid JSON: {error}") from error


_NO_NUMBER: Final = re.compile(
    rb"[:\[,]\s*(?:NaN|-?Infinity)\b"
)  # or text that looks so, which is written anew in vain


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, dict) and all(isinstance(choice.get(name), dict | None) for name in ("delta", "message"))


def is_deep(raw: bytes) -> bool:
    """Whether JSON is nested too deeply to be worked with."""
    brackets = raw.count(b"[") + raw.count(b"{")
    return brackets > MOST_DEPTH and structure.is_deeper(raw, MOST_DEPTH)


def error_of(value: Json) -> Json | None:
    """The error in a chunk, which a server sends in the middle of a stream when it fails. None: there is none."""
    error = value.get("error")
    if not error:
        return None
    return error if isinstance(error, dict) else {"message": str(error)}


def says(choice: Mapping[str, Any]) -> bool:
    """Whether a choice carries a token. A role alone, or empty content, is no token."""
    said = choice.get("delta") or choice.get("message") or choice
    return any(item and key in SAYING for key, item in said.items())


def frames(chunks: Sequence[Chunk]) -> list[bytes]:
    """Make the events of chunks. Chunks that differ only in their text are joined into one event; all others stay as
    they came."""
    if len(chunks) == 1:
        return [sse.data_frame(chunks[0].raw)]
    found: list[bytes] = []
    first: Text | None = None
    last: Text | None = None  # the last chunk that is joined to the first
    texts: list[bytes] = []
    for chunk in chunks:
        more = None if last is None else last.more(chunk.raw)
        if more is not None:
            texts.append(more)
            continue
        text = only_text(chunk)
        if first is not None and text is not None and text.like(first):
            texts.append(text.said)
            last = text
            continue
        if first is not None:
            found.append(first.frame(texts))
        first, last, texts = text, text, []
        if text is None:
            found.append(sse.data_frame(chunk.raw))
    return found if first is None else [*found, first.frame(texts)]


_CONTENT: Final = re.compile(rb'"content"\s*:\s*"((?:[^"\\]++|\\.)*+)"')
# Usually the first chunk has a role, and the others have none.
_ROLE: Final = re.compile(rb'"role"\s*:\s*"[^"\\]*"\s*,\s*(?="content"\s*:\s*"\Z)')
_PADDING: Final = re.compile(rb',\s*"obfuscation"\s*:\s*"[^"\\]*"')  # to hide lengths, in OpenAI's chunks


class Text(NamedTuple):
    """A chunk that carries text and nothing else: `said` are the bytes of the text, between those `before` and
    `after`."""

    before: bytes
    said: bytes
    after: bytes

    def more(self, raw: bytes) -> bytes | None:
        """Find the text of a chunk that has the same bytes around its text. None: this quick check does not show
        that."""
        if len(raw) < len(self.before) + len(self.after) or not raw.startswith(self.before):
            return None
        said = raw[len(self.before) : -len(self.after)]
        plain = raw.endswith(self.after) and b'"' not in said and not said.endswith(b"\\")
        return said if plain else None

    def like(self, first: Text) -> bool:
        """Whether this chunk differs from `first` only in its text, its role and its padding."""
        return self._rest() == first._rest()

    def _rest(self) -> tuple[bytes, bytes]:
        return _PADDING.sub(b"", _ROLE.sub(b"", self.before)), _PADDING.sub(b"", self.after)

    def frame(self, more: Sequence[bytes]) -> bytes:
        """Make the chunk's event, with the text of other chunks after its own."""
        return sse.data_frame(b"%b%b%b%b" % (self.before, self.said, b"".join(more), self.after))


def only_text(chunk: Chunk) -> Text | None:
    """Find the text of a chunk that carries nothing else. None: it carries more, or what is not known."""
    choices: list[Json] = chunk.value.get("choices") or []
    if len(choices) != 1 or chunk.value.get("usage") is not None:
        return None
    for key, item in choices[0].items():
        if item is not None and key not in ("delta", "index"):
            return None
    delta = choices[0].get("delta") or {}
    if not isinstance(delta.get("content"), str) or not delta.keys() <= {"role", "content"}:
        return None
    match = _CONTENT.search(chunk.raw)
    if match is None or chunk.raw.count(b'"content"') != 1:
        return None
    return Text(chunk.raw[: match.start(1)], match[1], chunk.raw[match.end(1) :])


def completion(chunk: Json) -> Json:
    """Make the completion, as the API gives it without streaming, from a joined chunk."""
    choices = []
    for choice in chunk.get("choices", ()):
        delta = choice.get("delta") or {}
        if not any(delta.get(key) for key in SAYING):  # some servers send the whole message at the end of a stream
            delta = choice.get("message") or delta
        message = {"role": "assistant", "content": None} | delta
        if isinstance(delta.get("tool_calls"), list):
            calls = [call for call in delta["tool_calls"] if isinstance(call, dict)]
            message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in calls]
        choices.append({"index": 0, "finish_reason": None} | {k: v for k, v in choice.items() if k != "delta"})
        choices[-1]["message"] = message
    rest = {key: item for key, item in chunk.items() if key not in _PROGRESS}
    return rest | {"object": "chat.completion", "choices": choices}


def is_completion(value: Json) -> bool:
    """Whether the value is a completion, and not a chunk."""
    choices: list[Json] = value.get("choices") or []
    return any(choice.get("message") and not choice.get("delta") for choice in choices)


def chunk_of(whole: Json) -> Json:
    """Make one chunk with the whole content of a completion; the opposite of `completion`."""
    choices = []
    for choice in whole.get("choices") or ():
        message = dict(_message(choice))
        if isinstance(message.get("tool_calls"), list):
            calls = [call for call in message["tool_calls"] if isinstance(call, dict)]
            message["tool_calls"] = [{"index": number} | call for number, call in enumerate(calls)]
        choices.append({k: v for k, v in choice.items() if k != "message"} | {"delta": message})
    return whole | {"object": "chat.completion.chunk", "choices": choices}


def text(whole: Json) -> str:
    """The text of a completion's first choice."""
    for choice in whole.get("choices") or ():
        return said_in(_message(choice))
    return ""


def _message(choice: Json) -> Json:
    """Find the message of a choice. {}: there is none; some servers leave it out, or send null or a delta."""
    return choice.get("message") or choice.get("delta") or {}


def finish_reason(whole: Json) -> str | None:
    """The `finish_reason` of the first choice. None: it has none, or there is no choice."""
    for choice in whole.get("choices") or ():
        reason: str | None = choice.get("finish_reason")
        return reason
    return None


def prompt_tokens(messages: Sequence[Any]) -> int:
    """An estimate of the tokens of a question's messages."""
    return _tokens(_characters(messages))


def usage(whole: Json, prompt: int) -> Json:
    """The server's count of tokens, in `usage` or in llama.cpp's `timings`; without one an estimate, with the member
    `estimated`. `prompt`: the estimate for the question."""
    given = whole.get("usage") or counting.of_timings(whole)
    if given and isinstance(given, dict):
        return given
    said = _tokens(_characters([_message(choice) for choice in whole.get("choices") or ()]))
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said, "estimated": True}


_THOUGHT: Final = GROWING - {"content", "text"}


def _tokens(characters: int) -> int:
    return -(-characters // _CHARACTERS_PER_TOKEN)


def _characters(messages: Iterable[Any]) -> int:
    count = 0
    for message in messages:
        count += len(said_in(message))
        count += sum(len(message[key]) for key in _THOUGHT if isinstance(message.get(key), str))
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            count += len(arguments) if isinstance(arguments, str) else 0
    return count


def said_in(message: Mapping[str, Any]) -> str:
    """The text of a message; the texts of several parts are joined."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join(each for each in texts if isinstance(each, str))
