"""Checks a question to a model, as far as this service depends on it; the model's server checks the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from pushsvc.errors import Invalid, TooLarge
from pushsvc.events import exact_json, structure
from pushsvc.llm.asked import MOST_NAME, PLAIN, Asked, wrong_metadata
from pushsvc.llm.formats import members, openai
from pushsvc.llm.formats.continuing import can_continue
from pushsvc.llm.formats.members import Member

MOST_VALUES: Final = 100_000  # a question of 8 MB could hold four million, and keep its worker busy for many seconds


class About(NamedTuple):
    """The facts that are kept of a question beside its body, which so need not be read again. `model`: the one that it
    names; `prompt`: an estimate of its tokens; `messages`: the place of their text in the body."""

    model: str = ""
    prompt: int = 0
    messages: tuple[int, int] = (0, 0)


NOTHING: Final = About()


def about(raw: bytes) -> About:
    """Find this out of a body that was checked. Raises NotJson for one that was not."""
    said = members.read(raw) or {}
    named, messages = said.get("model"), said["messages"]
    return _about(raw, messages, "" if named is None else named.value)


def _about(raw: bytes, messages: Member, model: str) -> About:
    text = messages.text.encode()
    begin = raw.index(text)  # the first place with the same bytes is as good as their own
    return About(model, openai.prompt_tokens(messages.value), (begin, begin + len(text)))


@dataclass(frozen=True, slots=True)
class Question:
    """A question that was checked. `body`: the request for the model; `stream`: it asks for a stream; `cancels`: the
    answer is cancelled when nobody listens; `choices`: the number of answers that it asks for; `about`: what others ask
    about it; `sent`: the request with what this service adds, None: nothing; `counts`: the count of tokens in a chunk
    of its own is for this service alone; `asked`: what is kept beside it; `interrupts`:
    what is made in its conversation meanwhile is cancelled; `continues`: see can_continue."""

    body: bytes
    stream: bool
    cancels: bool
    choices: int = 1
    about: About = NOTHING
    sent: bytes | None = None
    counts: bool = False
    asked: Asked = PLAIN
    interrupts: bool = False
    continues: bool = False

    def fields(self) -> list[Any]:
        """The fields and values that keep it in Redis."""
        found: list[Any] = ["request", self.body, "cancels", int(self.cancels), "about", orjson.dumps([*self.about])]
        return found + self.asked.fields()


def parse(
    raw: bytes,
    *,
    model: str,
    stream: bool | None = None,
    ask_streamed: bool = False,
    pause: Callable[[], None] = lambda: None,
) -> Question:
    """Check a request in OpenAI's schema, with our own members (`_OURS`), and `store`, which is ours too. `model`:
    for a request that names none; `stream`: replaces the request's own, if not None; `ask_streamed`: the model is to
    stream what is asked whole, too. The body is passed on as it came; if a member must change, the text of the others
    stays the same. `pause`: called between pieces of the work.

    Raises Invalid, which names the field, or TooLarge.
    """
    said = _read(raw, pause)
    pause()
    body = {name: member.value for name, member in said.items()}
    _check_messages(body.get("messages"))
    if not isinstance(body.get("model", ""), str):
        raise Invalid.field("model", "must be a string.")
    if not isinstance(body.get("stream"), bool | None):
        raise Invalid.field("stream", "must be true or false.")
    if body.get("on_disconnect", "continue") not in ("continue", "cancel"):
        raise Invalid.field("on_disconnect", "must be continue or cancel.")
    asked_how = _asked(body)
    asked = bool(body.get("stream"))
    streams = asked if stream is None else stream
    ours = {*_OURS, *(("store", "metadata") if asked_how.stored else ())}
    passed = {name: member for name, member in said.items() if name not in ours}
    if streams != asked:
        passed["stream"] = Member(streams, "true" if streams else "false")
    if body.get("model") == "":  # as if it were not there
        del passed["model"]
    if model and not body.get("model"):
        passed["model"] = Member(model, exact_json.dumps(model).decode())
    if passed.keys() != said.keys() or streams != asked or body.get("model") == "":
        raw = members.write(passed)
        pause()
    cancels, choices = body.get("on_disconnect") == "cancel", _choices(body.get("n"))
    known = _about(raw, said["messages"], body.get("model") or model)
    pause()
    sent = _with_count(passed) if streams else _streamed(passed) if ask_streamed else None
    interrupts = bool(body.get("interrupt"))
    return Question(
        raw, streams, cancels, choices, known, sent, sent is not None, asked_how, interrupts, can_continue(passed)
    )  # fmt: skip


_OURS: Final = ("on_disconnect", "conversation", "interrupt")


def _asked(body: Mapping[str, Any]) -> Asked:
    """The facts that are kept beside the question. One that is to be stored is stored here, and not by the model's
    server."""
    if not isinstance(body.get("store"), bool | None):
        raise Invalid.field("store", "must be true or false.")
    if not isinstance(body.get("interrupt"), bool | None):
        raise Invalid.field("interrupt", "must be true or false.")
    conversation = body.get("conversation") or ""
    if not isinstance(conversation, str) or len(conversation) > MOST_NAME or not conversation.isprintable():
        raise Invalid.field("conversation", f"must be a name of at most {MOST_NAME} characters.")
    if not body.get("store"):
        return PLAIN._replace(conversation=conversation) if conversation else PLAIN
    metadata = body.get("metadata") or {}
    if wrong := wrong_metadata(metadata):
        raise Invalid.field("metadata", wrong)
    return Asked(stored=True, conversation=conversation, metadata=metadata)


def _with_count(passed: Mapping[str, Member]) -> bytes | None:
    """The request with a wish for the engine's count of tokens. None: it has that wish, or one that is no wish."""
    given = passed.get("stream_options")
    options = {} if given is None or given.value is None else exact_json.loads(given.text.encode())
    if not isinstance(options, dict) or options.get("include_usage") is True:
        return None
    options["include_usage"] = True
    return members.write({**passed, "stream_options": Member(options, exact_json.dumps(options, lone=True).decode())})


# Members of OpenAI's API with which answers were compared: joined from a stream they are equal to the engine's own.
_COMPARED: Final = frozenset(
    {
        "model", "messages", "stream", "n", "seed", "stop", "user", "metadata", "store", "temperature", "top_p",
        "max_tokens", "max_completion_tokens", "logit_bias", "presence_penalty", "frequency_penalty",
        "response_format", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort",
        "safety_identifier", "prompt_cache_key",
    }
)  # fmt: skip


def _streamed(passed: Mapping[str, Member]) -> bytes | None:
    """The request for a stream in place of one piece. None: the answer might not be the same."""
    if not passed.keys() <= _COMPARED:
        return None
    return _with_count({**passed, "stream": Member(True, "true")})


def _read(raw: bytes, pause: Callable[[], None]) -> dict[str, Member]:
    check_size(raw, pause)
    pause()
    try:
        said = members.read(raw)
    except exact_json.NotJson as error:
        raise Invalid(f"The body is not valid JSON: {error}.") from error
    if said is None:
        raise Invalid("The body must be a JSON object.")
    body = {name: member.value for name, member in said.items()}
    pause()
    if exact_json.has_lone_surrogate(raw, body):
        raise Invalid("The body holds half of a surrogate pair, such as \\ud83d without its other half, in a string.")
    return said


def check_size(raw: bytes, pause: Callable[[], None]) -> None:
    """Refuse a body with too many values, or nested too deeply, before it is parsed. Raises TooLarge, or Invalid."""
    try:
        structure.check(raw, depth=openai.MOST_DEPTH, values=MOST_VALUES, pause=pause)
    except structure.TooMany as error:
        raise TooLarge(f"The body holds more than {MOST_VALUES} values.") from error
    except structure.TooDeep as error:
        raise Invalid("The body is nested too deeply.") from error


def _choices(n: object) -> int:
    """The number of answers that are asked for. A wrong number counts as one here; the model's server refuses it."""
    return int(n) if isinstance(n, float) and n.is_integer() and n > 0 else 1


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise Invalid.field("messages", "must be a list of at least one message.")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Invalid.field(f"messages[{number}]", "must be an object with a role.")
        if not isinstance(message.get("content"), str | list | None):
            raise Invalid.field(f"messages[{number}].content", "must be a string, or a list of parts.")
