"""An answer of which a part is there, and how a model's server is asked for the rest: the text so far is the last
message, of the assistant. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pushsvc.events import exact_json, sse
from pushsvc.llm.formats import members, openai
from pushsvc.llm.formats.joining import Json, joined
from pushsvc.llm.formats.members import Member
from pushsvc.llm.formats.openai import Chunk

NAME: Final = "continued"  # of the event that says so

# Members of a question with which its answer can be continued. Tools, several choices, log probabilities and formats
# are not among them: a grammar would begin anew.
_MEMBERS: Final = frozenset(
    {
        "model", "messages", "stream", "stream_options", "n", "seed", "stop", "user", "metadata", "store",
        "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "logit_bias",
        "presence_penalty", "frequency_penalty", "repeat_penalty", "repetition_penalty", "cache_prompt",
        "safety_identifier", "prompt_cache_key",
    }
)  # fmt: skip
_BOUNDS: Final = ("max_tokens", "max_completion_tokens")
_SAYING_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})
_REPLACEMENT: Final = "\ufffd"  # half a character of a token: what is asked with it is no more what the model wrote
_LLAMA_CPP: Final = re.compile(r"b\d+-\w+")  # its `system_fingerprint`: the build


def can_continue(said: Mapping[str, Member]) -> bool:
    """Whether the answer to a question with these members can be continued, whatever its text is."""
    messages = said["messages"].value if "messages" in said else None
    if not said.keys() <= _MEMBERS or not isinstance(messages, list) or not messages:
        return False
    last = messages[-1].get("role") if isinstance(messages[-1], dict) else None
    return last != "assistant" and ("n" not in said or said["n"].value in (None, 1))


class SoFar(NamedTuple):
    """The part of an answer that is there. `named`: the members by which its chunks are known; `tokens`: an estimate;
    `over`: all of it is there; `llama`: llama.cpp makes it."""

    text: str = ""
    named: Json = {}  # noqa: RUF012  # never changed
    tokens: int = 0
    over: bool = False
    llama: bool = False

    @classmethod
    def of(cls, chunks: Iterable[Json]) -> SoFar | None:
        """Read it from its chunks. None: it has more than text, or text that no engine would go on with exactly."""
        said = list(chunks)
        whole = joined(said)
        choices = whole.get("choices") or []
        if len(choices) > 1 or whole.get("native") is not None:
            return None
        choice = choices[0] if choices else {}
        delta = choice.get("delta") or {}
        others = [item for key, item in delta.items() if key not in ("role", "content") and item not in _SAYING_NOTHING]
        text = delta.get("content") or ""
        if others or choice.get("message") or not isinstance(text, str) or not _is_exact(text):
            return None
        named = {key: whole[key] for key in ("id", "created", "model") if whole.get(key)}
        llama = _LLAMA_CPP.fullmatch(str(whole.get("system_fingerprint") or "")) is not None
        if not llama and text != text.strip():
            return None  # the chat templates of others may leave blanks out
        estimate = openai.usage({"choices": [{"message": {"content": text}}]}, 0)["completion_tokens"]
        pieces = sum(any(map(_has_text, each.get("choices") or ())) for each in said)  # a token each, or more
        return cls(text, named, max(estimate, pieces), bool(choice.get("finish_reason")), llama)


def _has_text(choice: Json) -> bool:
    return bool((choice.get("delta") or {}).get("content"))


def _is_exact(text: str) -> bool:
    return _REPLACEMENT not in text and not any("\ud800" <= each <= "\udfff" for each in text)


def continuation(raw: bytes, so_far: SoFar) -> bytes | None:
    """The request for the rest. `raw`: the request for all of it. None: that cannot be continued, or it may have no
    more tokens. Raises NotJson."""
    said = members.read(raw) or {}
    if not can_continue(said):
        return None
    if not so_far.text:
        return raw
    found = dict(said)
    last = exact_json.dumps({"role": "assistant", "content": so_far.text})
    listed = said["messages"].text.rstrip()[:-1]  # the list, which is not empty, without its bracket
    found["messages"] = Member(None, f"{listed},{last.decode()}]")
    for name in _BOUNDS:
        bound = said[name].value if name in said else None
        if isinstance(bound, float) and bound > 0:
            if bound <= so_far.tokens:
                return None
            left = int(bound) - so_far.tokens
            found[name] = Member(left, str(left))
    if not so_far.llama:  # llama.cpp continues such a message as it is
        found["continue_final_message"] = Member(True, "true")
        found["add_generation_prompt"] = Member(False, "false")
    return members.write(found)


class Past(NamedTuple):
    """The past of an answer before a worker took it over. `times`: how often it was taken over; `seconds`: its age."""

    times: int
    seconds: float
    so_far: SoFar

    def frame(self, generation_id: str) -> bytes:
        """The event that says so."""
        return sse.frame(NAME, exact_json.dumps({"id": generation_id, "continued": self.times}).decode())

    def joins(self, chunk: Chunk) -> Chunk:
        """A chunk of the rest as one of the whole answer: it has its names, no role again, and counts all tokens."""
        if not self.so_far.named:
            return chunk
        value = exact_json.loads(chunk.raw) | self.so_far.named
        for choice in value.get("choices") or ():
            if isinstance(choice.get("delta"), dict):
                choice["delta"].pop("role", None)
        if isinstance(value.get("usage"), dict):
            value["usage"] = _of_all(value["usage"], self.so_far.tokens)
        return openai.parse(exact_json.dumps(value, lone=True))


def _of_all(usage: Json, before: int) -> Json:
    """The count for the whole answer. The engine counts the text so far, of `before` tokens by estimate, as a part of
    the question; so the total is its own, and how it is divided an estimate."""
    prompt, said = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not before or not isinstance(prompt, int) or not isinstance(said, int):
        return usage
    moved = min(before, prompt)
    return usage | {"prompt_tokens": prompt - moved, "completion_tokens": said + moved, "estimated": True}


def is_continued(event: bytes) -> bool:
    """Whether an event of the log, with or without its id, says that the answer was taken over."""
    return event.startswith(_EVENT) or (event.startswith(b"id:") and event.partition(b"\n")[2].startswith(_EVENT))


def without_continued(wire: bytes) -> bytes:
    """Whole events without those that say so, for clients that read each event as a chunk."""
    return _CONTINUED.sub(b"", wire) if _EVENT in wire else wire


_EVENT: Final = b"event: continued\n"
_CONTINUED: Final = re.compile(rb"^(?:id: [^\n]*\n)?event: continued\ndata: [^\n]*\n\n", re.MULTILINE)
