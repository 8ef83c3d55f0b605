"""Responses as they are kept: a generation in the words of the Responses API, and what a later one follows."""

from __future__ import annotations

import re
import time
from typing import Final

from pushsvc.errors import Invalid, NotFound
from pushsvc.events import exact_json
from pushsvc.llm.asked import RESPONSES, Asked
from pushsvc.llm.dialects.responses.events import ResponseEvents
from pushsvc.llm.dialects.responses.items import items_of
from pushsvc.llm.dialects.responses.request import Request, told
from pushsvc.llm.dialects.translating import translated
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.generations import Generations
from pushsvc.llm.record import Record

_ITEM: Final = re.compile(r"[a-z]+_([0-9a-f]{24})(_in)?_(\d{1,6})")
_ANSWERED: Final = ("role", "content", "refusal", "tool_calls")  # members of a message that a model takes again


def response_id(generation_id: str) -> str:
    """The id of a generation as a response."""
    return f"resp_{generation_id.removeprefix('gen_')}"


def generation_id(name: str) -> str:
    """The id of the generation that is this response."""
    return f"gen_{name.removeprefix('resp_')}" if name.startswith("resp_") else name


def unknown(name: str) -> NotFound:
    """The error for a response that does not exist, is not stored, or that the caller may not know of."""
    return NotFound(f"There is no response {name[:80]!r}.")


def asked(request: Request, model: str, *, native: bool) -> Asked:
    """The record that is kept of a request. `model`: for one that names none; `native`: the model's server speaks this
    API."""
    members = told(request.given, model) | {"created_at": int(time.time())}
    if native:
        members["native"] = True
    return Asked(RESPONSES, request.store, request.conversation, members, request.given.get("metadata") or {})


class Responses:
    """The responses of one user."""

    def __init__(self, generations: Generations, user: str) -> None:
        self._generations = generations
        self._user = user

    def get(self, name: str) -> Record:
        """The record of a response. Raises NotFound."""
        record = self._generations.records.find(generation_id(name))
        if record is None or record.user != self._user or record.asked.api != RESPONSES or not record.asked.stored:
            raise unknown(name)
        return record

    def previous(self, name: str) -> Record:
        """The record of the response that a new one follows. Raises Invalid."""
        try:
            return self.get(name)
        except NotFound as error:
            raise Invalid.field("previous_response_id", "is none of your responses.") from error

    def events(self, name: str, kept: Asked, *, prompt: int = 0, after: int = -1) -> ResponseEvents:
        """The translator of a response's stream. `name`: of the generation; `prompt`, `after`: see ResponseEvents."""
        members = {key: value for key, value in kept.members.items() if key != "native"}
        response = {"id": response_id(name), "object": "response"} | members | {"metadata": kept.metadata}
        return ResponseEvents(response, prompt=prompt, after=after, native=bool(kept.members.get("native")))

    def described(self, record: Record) -> Json:
        """The response so far."""
        prompt = 0 if record.about is None else record.about.prompt
        events = self.events(record.id, record.asked, prompt=prompt)
        events.begin()
        translated(events, self._generations.records.said(record.id))
        ended = {} if record.ended is None else {"completed_at": record.ended // 1000}
        return events.value() | ended

    def input_items(self, record: Record) -> list[Json]:
        """The items that a response answers."""
        if record.asked.members.get("native"):
            given = exact_json.loads(self._generations.records.request(record.id)).get("input")
            items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given or []
            prefix = f"msg_{record.id.removeprefix('gen_')}_in"
            return [{"id": f"{prefix}_{number}"} | item for number, item in enumerate(items)]
        messages = self._messages(record)
        return items_of(messages, f"{record.id.removeprefix('gen_')}_in")

    def _messages(self, record: Record) -> list[Json]:
        """The messages of a response's question, without its instructions, which do not hold for another."""
        found: list[Json] = exact_json.loads(self._generations.records.request(record.id)).get("messages") or []
        return found[1:] if record.asked.members.get("instructions") is not None else found

    def after(self, record: Record) -> list[Json]:
        """The messages that a response which follows this one has before its own. Raises Invalid if it still runs."""
        if record.ending is None:
            raise Invalid.field("previous_response_id", "is still being made; cancel it, or wait for its end.")
        choices = self._generations.answer(record).get("choices") or [{}]
        message = choices[0].get("message") or {}
        answer = {name: message[name] for name in _ANSWERED if message.get(name) is not None}
        said = [answer | {"role": "assistant"}] if answer.keys() - {"role"} else []
        return self._messages(record) + said

    def native_id(self, record: Record) -> str:
        """The id of a response at the model's server. Raises Invalid if it has none."""
        name = self._generations.answer(record).get("id")
        if not record.asked.members.get("native") or not isinstance(name, str):
            raise Invalid.field("previous_response_id", "is none that the model's server knows.")
        return name

    def item(self, name: str) -> Json | None:
        """The item of a response with this id. None: there is none."""
        match = _ITEM.fullmatch(name)
        record = self._generations.records.find(f"gen_{match[1]}") if match else None
        if match is None or record is None or record.user != self._user:
            return None
        items = self.input_items(record) if match[2] else self.described(record)["output"]
        return next((item for item in items if item["id"] == name), None)
