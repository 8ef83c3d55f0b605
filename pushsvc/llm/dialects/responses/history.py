"""Responses as they are kept: a generation in the words of the Responses API, and what a later one follows."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Final

from pushsvc.errors import Invalid, NotFound, TooLarge
from pushsvc.events import exact_json
from pushsvc.llm.asked import RESPONSES, Asked
from pushsvc.llm.dialects.responses.events import ResponseEvents
from pushsvc.llm.dialects.responses.items import items_of
from pushsvc.llm.dialects.responses.request import Request, told
from pushsvc.llm.dialects.translating import translated
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.formats.kept_json import long_json
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

    def __init__(self, generations: Generations, user: str, most: int = 0) -> None:
        """`most`: bytes of one new question, with what it repeats of others."""
        self._generations = generations
        self._user = user
        self._most = self._left = most

    def take(self, size: int) -> None:
        """Count bytes that the new question will have. Raises TooLarge."""
        self._left -= size
        if self._left < 0:
            raise TooLarge(f"The question has more than {self._most} bytes with all that it follows or refers to.")

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
            given = long_json(self._generations.records.request(record.id)).get("input")
            items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given or []
            prefix = f"msg_{record.id.removeprefix('gen_')}_in"
            return [{"id": f"{prefix}_{number}"} | item for number, item in enumerate(items)]
        messages = self._messages(record, self._generations.records.request(record.id))
        return items_of(messages, f"{record.id.removeprefix('gen_')}_in")

    def _messages(self, record: Record, raw: bytes) -> list[Json]:
        """The messages of a question, which is `raw`, without its instructions, which do not hold for another."""
        found: list[Json] = long_json(raw).get("messages") or []
        return found[1:] if record.asked.members.get("instructions") is not None else found

    def after(self, record: Record, *, running: bool = False) -> list[Json]:
        """The messages that a response which follows this one has before its own. `running`: it may
        still be made; then as far as it is. Raises Invalid, or TooLarge."""
        if record.ending is None and not running:
            raise Invalid.field("previous_response_id", "is still being made; cancel it, or wait for its end.")
        raw = self._generations.records.request(record.id)
        self.take(len(raw))
        choices = self._generations.answer(record).get("choices") or [{}]
        message = choices[0].get("message") or {}
        answer = {name: message[name] for name in _ANSWERED if message.get(name) is not None}
        said = [answer | {"role": "assistant"}] if answer.keys() - {"role"} else []
        self.take(len(exact_json.dumps(said, lone=True)))
        return self._messages(record, raw) + said

    def native_id(self, record: Record) -> str:
        """The id of a response at the model's server. Raises Invalid if it has none."""
        name = self._generations.answer(record).get("id")
        if not record.asked.members.get("native") or not isinstance(name, str):
            raise Invalid.field("previous_response_id", "is none that the model's server knows.")
        return name

    def items(self, names: Sequence[str]) -> Mapping[str, Json]:
        """The items of responses with these ids, as far as there are such. Each response is read once, and each item
        counted as often as it is named. Raises TooLarge."""
        wanted: dict[tuple[str, bool], set[str]] = {}
        for name in names:
            if match := _ITEM.fullmatch(name):
                wanted.setdefault((match[1], bool(match[2])), set()).add(name)
        found: dict[str, Json] = {}
        for (number, given), these in wanted.items():
            for item in self._items_of(f"gen_{number}", given=given):
                own = item.get("id")
                if isinstance(own, str) and own in these and own not in found:
                    found[own] = item
                    self.take(len(exact_json.dumps(item, lone=True)) * names.count(own))
        return found

    def _items_of(self, generation_id: str, *, given: bool) -> Sequence[Json]:
        """The items of a response that it was `given`, or those that it gave; none unless it is the user's."""
        record = self._generations.records.find(generation_id)
        if record is None or record.user != self._user:
            return ()
        items: list[Json] = self.input_items(record) if given else self.described(record)["output"]
        return items
