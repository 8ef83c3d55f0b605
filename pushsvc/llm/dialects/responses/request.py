"""A request of the Responses API, as a question of chat completions. What has no counterpart there is refused by name.
Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pushsvc.errors import Invalid
from pushsvc.events import exact_json
from pushsvc.llm.asked import wrong_metadata
from pushsvc.llm.dialects.responses.items import FindItems, messages_of, untranslated
from pushsvc.llm.formats.joining import Json

# Members with the same meaning in both; also those that are unknown here pass as they are.
_RENAMED: Final = {"max_output_tokens": "max_completion_tokens"}
# What this service does itself, or what concerns only tools that the model's server runs itself, or hints.
_OURS: Final = frozenset(
    {
        "input", "instructions", "background", "stream", "store", "metadata", "previous_response_id", "conversation",
        "include", "truncation", "max_tool_calls", "text", "reasoning", "tools", "tool_choice", "top_logprobs",
        "stream_options", "interrupt", "prompt",
    }
)  # fmt: skip
_REFUSED: Final = ("prompt", "context_management", "moderation", "access_programs", "background_options", "image")
# What a response tells again of its request.
_TOLD: Final = (
    "instructions", "max_output_tokens", "max_tool_calls", "previous_response_id", "prompt", "prompt_cache_key",
    "safety_identifier", "service_tier", "temperature", "top_logprobs", "top_p", "truncation", "user",
)  # fmt: skip
_FLAGS: Final = ("background", "stream", "store", "parallel_tool_calls", "interrupt")
_STRINGS: Final = ("model", "instructions", "previous_response_id", "user")
MOST_INCLUDES: Final = 100


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was checked. `given`: its members; `conversation`: its name, empty: none."""

    given: Json
    background: bool
    stream: bool
    store: bool
    conversation: str
    interrupt: bool

    @property
    def previous(self) -> str | None:
        """The id of the response that this one follows."""
        found: str | None = self.given.get("previous_response_id")
        return found


def read(raw: bytes, load: Callable[[bytes], Any], *, anything: bool = False) -> Request:
    """Check a request. `load`: reads its JSON; `anything`: the model's server takes what chat completions lack. Raises
    Invalid, which names the member."""
    given = load(raw)
    if not isinstance(given, dict):
        raise Invalid("The body must be a JSON object.")
    for name in () if anything else _REFUSED:
        if given.get(name) is not None:
            raise untranslated(name)
    for name in _FLAGS:
        _check(given, name, bool, "must be true or false.")
    for name in _STRINGS:
        _check(given, name, str, "must be a string.")
    wrong = None if given.get("metadata") is None else wrong_metadata(given["metadata"])
    if wrong:
        raise Invalid.field("metadata", wrong)
    include = given.get("include")
    if include is not None and (not isinstance(include, list) or len(include) > MOST_INCLUDES):
        raise Invalid.field("include", "must be a list of names.")
    background, store = bool(given.get("background")), given.get("store") is not False
    if background and not store:
        raise Invalid.field("store", "must not be false for a response that is made in the background.")
    conversation = _conversation(given.get("conversation"))
    return Request(given, background, bool(given.get("stream")), store, conversation, bool(given.get("interrupt")))


def _check(given: Json, name: str, kind: type, what: str) -> None:
    if given.get(name) is not None and not isinstance(given[name], kind):
        raise Invalid.field(name, what)


def _conversation(given: Any) -> str:
    named = given.get("id") if isinstance(given, dict) else given
    if named is None:
        return ""
    if not isinstance(named, str) or not 0 < len(named) <= 255 or not named.isprintable():
        raise Invalid.field("conversation", "must be an id of at most 255 characters.")
    return named


def chat(request: Request, earlier: list[Json], find: FindItems) -> bytes:
    """The question, which asks for a stream with a count of tokens. `earlier`: the messages that it follows; `find`:
    see messages_of. Raises Invalid."""
    given, instructions = request.given, request.given.get("instructions")
    said = messages_of(given.get("input"), find)
    if not said and not earlier:
        said = [{"role": "user", "content": ""}]
    first = [] if instructions is None else [{"role": "system", "content": instructions}]
    body = {
        _RENAMED.get(name, name): value
        for name, value in given.items()
        if name not in _OURS and name not in _REFUSED and value is not None
    }
    body |= _text(given.get("text")) | _reasoning(given.get("reasoning")) | _tools(given) | _logprobs(given)
    body |= {"messages": [*first, *earlier, *said], "stream": True, "stream_options": {"include_usage": True}}
    return exact_json.dumps(body, lone=True)


# What this service does itself also where the model's server speaks this API: it is asked for a stream, whose
# connection is the model's hold on it.
_KEPT_HERE: Final = frozenset({"background", "stream", "interrupt", "on_disconnect", "previous_response_id"})


def native(request: Request, previous: str | None) -> bytes:
    """The question for a server that speaks this API. `previous`: the id that it gave to the response which this one
    follows."""
    body = {name: value for name, value in request.given.items() if name not in _KEPT_HERE}
    body |= {"stream": True} | ({} if previous is None else {"previous_response_id": previous})
    return exact_json.dumps(body, lone=True)


def _text(given: Any) -> Json:
    if given is None:
        return {}
    if not isinstance(given, dict) or not isinstance(given.get("format"), dict | None):
        raise Invalid.field("text", "must be an object with a format.")
    body = {} if given.get("verbosity") is None else {"verbosity": given["verbosity"]}
    wanted = given.get("format") or {"type": "text"}
    if wanted.get("type") == "json_schema":
        schema = {key: value for key, value in wanted.items() if key != "type" and value is not None}
        return body | {"response_format": {"type": "json_schema", "json_schema": schema}}
    if wanted.get("type") == "json_object":
        return body | {"response_format": {"type": "json_object"}}
    if wanted.get("type") != "text":
        raise untranslated("text.format.type")
    return body


def _reasoning(given: Any) -> Json:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Invalid.field("reasoning", "must be an object.")
    effort = given.get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _logprobs(given: Json) -> Json:
    top, include = given.get("top_logprobs"), given.get("include") or ()
    if not top and "message.output_text.logprobs" not in include:
        return {}
    return {"logprobs": True} | ({"top_logprobs": top} if top else {})


def _tools(given: Json) -> Json:
    tools, choice = given.get("tools") or [], given.get("tool_choice")
    if not isinstance(tools, list):
        raise Invalid.field("tools", "must be a list.")
    if not tools:  # servers refuse a choice among none
        return {}
    body: Json = {"tools": [_tool(tool, f"tools[{number}]") for number, tool in enumerate(tools)]}
    return body if choice is None else body | {"tool_choice": _choice(choice)}


def _tool(tool: Any, name: str) -> Json:
    if not isinstance(tool, dict):
        raise Invalid.field(name, "must be an object.")
    held = {key: value for key, value in tool.items() if key != "type" and value is not None}
    if tool.get("type") == "function":
        return {"type": "function", "function": held}
    if tool.get("type") != "custom":
        raise untranslated(f"{name}.type", f"{str(tool.get('type'))[:80]!r} is a tool that chat completions lack")
    wanted = held.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "grammar":
        held["format"] = {"type": "grammar", "grammar": {key: wanted.get(key) for key in ("syntax", "definition")}}
    return {"type": "custom", "custom": held}


def _choice(given: Any) -> Any:
    if isinstance(given, str):
        return given
    kind = given.get("type") if isinstance(given, dict) else _no_choice()
    if kind in ("function", "custom"):
        return {"type": kind, kind: {"name": given.get("name")}}
    if kind == "allowed_tools" and isinstance(given.get("tools"), list):
        tools = [_choice(tool) for tool in given["tools"]]
        return {"type": kind, "allowed_tools": {"mode": given.get("mode"), "tools": tools}}
    raise untranslated("tool_choice.type")


def _no_choice() -> NoReturn:
    raise Invalid.field("tool_choice", "must be a string or an object.")


def told(given: Mapping[str, Any], model: str) -> Json:
    """The members of its request that a response tells, with the defaults of those that it does not name."""
    text, reasoning = given.get("text") or {}, given.get("reasoning") or {}
    conversation = _conversation(given.get("conversation"))
    found = {name: given.get(name) for name in _TOLD} | {
        "background": bool(given.get("background")),
        "model": given.get("model") or model,
        "parallel_tool_calls": given.get("parallel_tool_calls") is not False,
        "reasoning": {"effort": None, "summary": None} | reasoning,
        "store": given.get("store") is not False,
        "text": {"format": {"type": "text"}} | text,
        "tool_choice": given.get("tool_choice") or "auto",
        "tools": [_told_tool(tool) for tool in given.get("tools") or ()],
        "truncation": given.get("truncation") or "disabled",
        "conversation": {"id": conversation} if conversation else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _told_tool(tool: Json) -> Json:
    return {"parameters": None, "strict": None} | tool if tool.get("type") == "function" else tool
