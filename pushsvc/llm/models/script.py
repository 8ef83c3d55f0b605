"""Makes the mock's answers: prose, a call of one of the request's tools, or JSON if the request asks for it. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pushsvc.events import exact_json
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.models.samples import sample

MOST_QUOTED: Final = 200  # characters of the question
MOST_CHOICES: Final = 16

_PROSE: Final = """\
You said: “{question}”

I am the model that comes with the service, so I know nothing, but I type well: one character at a time, as a large \
language model would send its tokens. Each of them is in Redis before you see it. So reload this page in the middle of \
a sentence, open it in a second tab, or let your phone sleep for a while: I go on where you left, and not a letter is \
lost or comes twice. ✔ Ünïcödé, 日本語 and 🚀 arrive whole, too. If you have heard enough, press Stop."""


class Answer(NamedTuple):
    """One answer. `tool`: the tool that it calls, whose arguments are `text`; None: `text` is prose or JSON."""

    text: str
    finish_reason: str
    tool: str | None = None

    def message(self) -> Json:
        """The answer in one piece."""
        if self.tool is None:
            return {"role": "assistant", "content": self.text, "refusal": None}
        return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [_call(self.tool, self.text)]}

    def deltas(self) -> Iterator[Json]:
        """The answer in deltas of one character each."""
        if self.tool is None:
            yield from ({"content": character} for character in self.text)
            return
        yield {"tool_calls": [{"index": 0} | _call(self.tool, "")]}
        for character in self.text:
            yield {"tool_calls": [{"index": 0, "function": {"arguments": character}}]}


def answers(request: Json) -> list[Answer]:
    """Make one answer for each choice that was asked for."""
    count = request.get("n")
    count = min(count, MOST_CHOICES) if isinstance(count, int) and count > 0 else 1
    return [_answer(request)] * count


def _answer(request: Json) -> Answer:
    messages = request["messages"]
    question = _said_by("user", messages)[:MOST_QUOTED]
    tool = _tool(request, question)
    if tool is not None:
        arguments = sample(tool.get("parameters") or {"type": "object"}, question)
        return Answer(exact_json.dumps(arguments, lone=True).decode(), "tool_calls", tool["name"])
    text = _json(request.get("response_format"), question)
    if text is None:
        text = _PROSE.format(question=question)
        if messages[-1].get("role") == "tool":
            text = f"The tool said: “{openai.said_in(messages[-1])[:MOST_QUOTED]}”\n\n{text}"
    most = request.get("max_completion_tokens") or request.get("max_tokens")
    if isinstance(most, int) and 0 < most < len(text):
        return Answer(text[:most], "length")  # a character is a token
    return Answer(text, "stop")


def _call(name: str, arguments: str) -> Json:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _said_by(role: str, messages: list[Any]) -> str:
    return next((openai.said_in(each) for each in reversed(messages) if each.get("role") == role), "")


def _tool(request: Json, question: str) -> Json | None:
    """Find the tool to call: the one that `tool_choice` names, or the question names, or the first. None: no tool is to
    be called, or the last message is the answer of a tool."""
    given = request.get("tools")
    functions = [each.get("function") for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    known = {each["name"]: each for each in functions if isinstance(each, dict) and isinstance(each.get("name"), str)}
    choice = request.get("tool_choice") or "auto"
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        return known.get(str(choice["function"].get("name")))
    if choice == "none" or (choice == "auto" and request["messages"][-1].get("role") == "tool"):
        return None
    named = (each for name, each in known.items() if name in question)
    return next(named, next(iter(known.values()), None))


def _json(wanted: Any, question: str) -> str | None:
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_object", "json_schema"):
        return None
    schema = wanted.get("json_schema")
    if wanted["type"] == "json_schema" and isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
        value = sample(schema["schema"], question)
    else:
        value = {"answer": f"You said: “{question}”"}
    return exact_json.dumps(value, lone=True).decode()
