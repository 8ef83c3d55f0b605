"""The items of a response while they are made, each with the events that tell of it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushsvc.events import exact_json
from pushsvc.llm.formats.joining import Json

Tell = Callable[..., None]  # the type of an event, and its members


class Item:
    """An item that grows. `id` has its number, so the item can be found again by it."""

    kind = letters = ""

    def __init__(self, prefix: str, number: int, tell: Tell) -> None:
        """`prefix`: of ids; `number`: its place in the output."""
        self.id = f"{self.letters}_{prefix}_{number}"
        self._number = number
        self._tell_event = tell
        self.status = "in_progress"
        self._pieces: list[str] = []

    def tell(self, kind: str, **members: Any) -> None:
        """Tell an event of this item."""
        self._tell_event(kind, item_id=self.id, output_index=self._number, **members)

    @property
    def said(self) -> str:
        """All of its text so far."""
        return exact_json.paired("".join(self._pieces))

    def value(self) -> Json:
        """The item as it is told."""
        return {"id": self.id, "type": self.kind, "status": self.status}

    def begin(self) -> None:
        """Tell that it begins."""
        self._tell_event("response.output_item.added", output_index=self._number, item=self.value())

    def end(self, status: str) -> None:
        """Tell that it has ended. `status`: completed, or incomplete."""
        if self.status != "in_progress":
            return
        self._close()
        self.status = status
        self._tell_event("response.output_item.done", output_index=self._number, item=self.value())

    def _close(self) -> None:
        """Tell that its text has ended."""


class Thoughts(Item):
    """The thoughts of the model before it answers."""

    kind, letters = "reasoning", "rs"

    def add(self, text: str) -> None:
        """Take a piece of it."""
        if not self._pieces:
            part = {"type": "reasoning_text", "text": ""}
            self.tell("response.content_part.added", content_index=0, part=part)
        self._pieces.append(text)
        self.tell("response.reasoning_text.delta", content_index=0, delta=text)

    def value(self) -> Json:
        """See Item."""
        content = [{"type": "reasoning_text", "text": self.said}] if self._pieces else []
        return super().value() | {"summary": [], "content": content}

    def _close(self) -> None:
        self.tell("response.reasoning_text.done", content_index=0, text=self.said)
        part = {"type": "reasoning_text", "text": self.said}
        self.tell("response.content_part.done", content_index=0, part=part)


class Message(Item):
    """The words of the model: one part of text, or of refusal, after the other."""

    kind, letters = "message", "msg"

    def __init__(self, prefix: str, number: int, tell: Tell) -> None:
        super().__init__(prefix, number, tell)
        self._parts: list[Json] = []  # those that have ended
        self._open = ""  # the type of the one that grows
        self._logprobs: list[Json] = []

    def add(self, kind: str, text: str, logprobs: list[Json]) -> None:
        """Take a piece of text. `kind`: output_text, or refusal."""
        if self._open != kind:
            self._close()
            self._open = kind
            self._tell_part("added", self._part())
        self._pieces.append(text)
        self._logprobs += logprobs
        if kind == "refusal":
            self.tell("response.refusal.delta", content_index=len(self._parts), delta=text)
            return
        said = [{key: item for key, item in each.items() if key != "bytes"} for each in logprobs]
        self.tell("response.output_text.delta", content_index=len(self._parts), delta=text, logprobs=said)

    def _part(self) -> Json:
        if self._open == "refusal":
            return {"type": "refusal", "refusal": self.said}
        return {"type": "output_text", "text": self.said, "annotations": [], "logprobs": self._logprobs}

    def _tell_part(self, what: str, part: Json) -> None:
        self.tell(f"response.content_part.{what}", content_index=len(self._parts), part=part)

    def value(self) -> Json:
        """See Item."""
        parts = [*self._parts, self._part()] if self._open else self._parts
        return super().value() | {"role": "assistant", "content": list(parts)}

    def _close(self) -> None:
        if not self._open:
            return
        part, place = self._part(), len(self._parts)
        if self._open == "refusal":
            self.tell("response.refusal.done", content_index=place, refusal=part["refusal"])
        else:
            said = [{key: item for key, item in each.items() if key != "bytes"} for each in self._logprobs]
            self.tell("response.output_text.done", content_index=place, text=part["text"], logprobs=said)
        self._tell_part("done", part)
        self._parts.append(part)
        self._open, self._pieces, self._logprobs = "", [], []


class ToolCall(Item):
    """A call of one of the request's tools."""

    kind, letters = "function_call", "fc"
    member, word = "arguments", "function_call_arguments"

    def __init__(self, prefix: str, number: int, tell: Tell, call_id: str, name: str) -> None:
        super().__init__(prefix, number, tell)
        self.call_id = call_id
        self.name = name

    def add(self, text: str) -> None:
        """Take a piece of its arguments."""
        self._pieces.append(text)
        self.tell(f"response.{self.word}.delta", delta=text)

    def value(self) -> Json:
        """See Item."""
        return super().value() | {"call_id": self.call_id, "name": self.name, self.member: self.said}

    def _close(self) -> None:
        self.tell(f"response.{self.word}.done", name=self.name, **{self.member: self.said})


class CustomToolCall(ToolCall):
    """A call of a tool that takes text and no JSON."""

    kind, letters = "custom_tool_call", "ctc"
    member, word = "input", "custom_tool_call_input"
