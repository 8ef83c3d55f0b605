"""How a question is put to a model: with what this service adds to it, and again where a refusal is no answer."""

from __future__ import annotations

import re
from typing import Final

from pushsvc.llm.request import Question

MOST_MODELS: Final = 1000  # of which is remembered what they take, as users choose the names
FIRST_PAUSE: Final = 0.5  # seconds before a model that is being loaded is asked again, doubled up to
LONGEST_PAUSE: Final = 4.0
_REFUSING: Final = frozenset({400, 404, 405, 415, 422, 500, 501})  # statuses with which servers refuse a member
_UNNAMED: Final = frozenset({400, 422})  # those of them that mean it also where they do not name it
_NAMES: Final = re.compile(rb"stream_options|include_usage")
_LOADING: Final = re.compile(rb"\b(?:re)?load(?:ing|ed)\b|warming up|starting up|not (?:yet )?ready", re.IGNORECASE)


class Engine:
    """What this worker has found out about the model's server. `first_token`: the limit in seconds."""

    def __init__(self, first_token: float) -> None:
        self.first_token = first_token
        self._takes: dict[str, bool] = {}  # whether a model takes what is added; not in it: not known

    def takes(self, model: str) -> bool | None:
        """Whether it takes what is added to questions. None: that is not known."""
        return self._takes.get(model)

    def note(self, model: str, *, takes: bool) -> None:
        """Remember it."""
        if model in self._takes or len(self._takes) < MOST_MODELS:
            self._takes[model] = takes


class Asking:
    """One question, until its response begins. `now`: always a monotonic time."""

    __slots__ = ("_added", "_asked_at", "_engine", "_pause", "_question")

    def __init__(self, question: Question, engine: Engine, now: float) -> None:
        self._question = question
        self._engine = engine
        self._asked_at = now
        self._pause = FIRST_PAUSE
        refuses = engine.takes(question.about.model) is False
        self._added = question.sent is not None and not refuses  # whether it is asked with what is added

    @property
    def body(self) -> bytes:
        """The request as it is sent."""
        return self._question.sent if self._added and self._question.sent is not None else self._question.body

    def accepted(self) -> None:
        """Take note that the model answers."""
        if self._question.sent is not None:
            self._engine.note(self._question.about.model, takes=self._added)

    def pause_after(self, status: int, document: bytes, now: float) -> float | None:
        """How long to wait, in seconds, before the question is asked again. None: the refusal is the answer."""
        if status == 503 and _LOADING.search(document):
            pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
            return pause if now + pause - self._asked_at < self._engine.first_token else None
        unknown = status in _UNNAMED and self._engine.takes(self._question.about.model) is None
        if self._added and status in _REFUSING and (unknown or _NAMES.search(document)):
            self._added = False
            return 0.0
        return None
