"""The way of a question to a model: with what this service adds to it, and again where a refusal is no answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pushsvc.llm.formats import shape
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.formats.shape import Shape
from pushsvc.llm.models.base import QUEUED
from pushsvc.llm.request import Question

MOST_MODELS: Final = 1000  # of which is remembered what they take, as users choose the names
FIRST_PAUSE: Final = 0.5  # seconds before a model that is being loaded is asked again, doubled up to
LONGEST_PAUSE: Final = 4.0
_REFUSING: Final = frozenset({400, 404, 405, 415, 422, 500, 501})  # statuses with which servers refuse a member
_UNNAMED: Final = frozenset({400, 422})  # those of them that mean it also where they do not name it
_NAMES: Final = re.compile(rb"stream_options|include_usage")
_STREAMS: Final = re.compile(rb"\bstream(?:_options|ing|ed)?\b|include_usage", re.IGNORECASE)
_LOADING: Final = re.compile(rb"\b(?:re)?load(?:ing|ed)\b|warming up|starting up|not (?:yet )?ready", re.IGNORECASE)
_GATEWAY: Final = "x-litellm-version"  # it makes whole answers that have more than its chunks

Kind = tuple[str, bool]  # the model that a question names, and whether the client asks for a stream


class Engine:
    """The facts that this worker has found out about the model's server. `first_token`: the limit in seconds."""

    def __init__(self, first_token: float) -> None:
        self.first_token = first_token
        self._takes: dict[Kind, bool] = {}  # whether a model takes what is added; not in it: not known
        self._differing: set[Kind] = set()
        self._shapes: dict[Kind, Shape] = {}

    def takes(self, kind: Kind) -> bool | None:
        """Whether it takes what is added to questions. None: that is not known."""
        return self._takes.get(kind)

    def note(self, kind: Kind, *, takes: bool) -> None:
        """Remember it."""
        if kind in self._takes or len(self._takes) < MOST_MODELS:
            self._takes[kind] = takes

    def shape(self, kind: Kind) -> Shape | None:
        """The shape of its whole answers. None: not known, or as its chunks are."""
        return self._shapes.get(kind)

    def differs(self, kind: Kind) -> bool:
        """Whether its whole answers have other members than its chunks."""
        return kind in self._differing

    def note_different(self, kind: Kind) -> None:
        """Remember that, and ask it for whole answers until their shape is known."""
        self.note(kind, takes=False)
        if kind in self._takes:
            self._differing.add(kind)

    def learn(self, kind: Kind, found: Shape) -> None:
        """Remember the shape of whole answers, which are asked for as streams from now on."""
        if kind in self._differing:
            self._shapes[kind] = found
            self.note(kind, takes=True)

    def forget(self, kind: Kind) -> None:
        """Ask for whole answers from now on: they have what no stream tells."""
        self._differing.discard(kind)
        self._shapes.pop(kind, None)
        self.note(kind, takes=False)


class Asking:
    """One question, until its answer speaks. `now`: always a monotonic time."""

    __slots__ = (
        "_added",
        "_asked_at",
        "_differs",
        "_engine",
        "_kind",
        "_looked",
        "_pause",
        "_question",
        "counted",
        "shape",
    )

    def __init__(self, question: Question, engine: Engine, now: float) -> None:
        self._question = question
        self._engine = engine
        self._kind = (question.about.model, question.stream)
        self._asked_at = now
        self._pause = FIRST_PAUSE
        self.shape = engine.shape(self._kind)  # that the answer is to be given; None: its own
        refuses = engine.takes(self._kind) is False or (self.shape is not None and question.choices > 1)
        self._added = question.sent is not None and not refuses  # whether it is asked with what is added
        self.counted = False  # whether a count of tokens came
        self._looked = False  # whether the first chunk was looked at
        self._differs = False  # whether it is an engine whose whole answers are no joined chunks; its shape is wanted

    @property
    def body(self) -> bytes:
        """The request as it is sent."""
        return self._question.sent if self._added and self._question.sent is not None else self._question.body

    @property
    def streams(self) -> bool:
        """Whether the model is asked for a stream."""
        return self._question.stream or self._added

    @property
    def _unasked(self) -> bool:
        """Whether it is asked for a stream, and the client wants its answer in one piece."""
        return self._added and not self._question.stream

    def begins(self, headers: Mapping[str, str]) -> bool:
        """Take note that the model answers. False: nothing more of it is looked at here."""
        if QUEUED in headers:
            return True
        if self._question.stream or self._question.sent is None:
            if self._question.sent is not None:
                self._engine.note(self._kind, takes=self._added)
            return False
        self._differs = self._differs or _GATEWAY in headers
        return True

    def looks_different(self, chunk: Json) -> bool:
        """Look at a chunk of an answer that the client wants in one piece. True: the engine's own whole answers are
        different, so it is to be asked for one; from that their shape is learned."""
        if not self._unasked or self._looked or self.shape is not None:
            return False
        self._looked = True
        if shape.is_other(chunk):
            self._engine.forget(self._kind)
            return self.asks_whole()
        self._differs = self._differs or not shape.is_plain(chunk)
        if not self._differs:
            self._engine.note(self._kind, takes=True)
        return self._differs and self.asks_whole()

    def asks_whole(self) -> bool:
        """Ask for the answer in one piece, in place of a stream in which it did not come. False: that was done."""
        if not self._unasked:
            return False
        self._added = False
        if self._differs:
            self._engine.note_different(self._kind)
        return True

    def learn(self, whole: Json) -> None:
        """Learn from a whole answer which members the engine's have."""
        if not self._added and self._engine.differs(self._kind) and (found := Shape.of(whole)) is not None:
            self._engine.learn(self._kind, found)

    def completed(self) -> None:
        """Take note that the answer is complete. Whole ones are not made of streams where these have no count."""
        if self._unasked and not self.counted and self.shape is not None and self.shape.usage:
            self._engine.forget(self._kind)

    def pause_after(self, status: int, document: bytes, now: float) -> float | None:
        """The time to wait, in seconds, before the question is asked again. None: the refusal is the answer."""
        if status == 503 and _LOADING.search(document):
            pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
            return pause if now + pause - self._asked_at < self._engine.first_token else None
        unknown = status in _UNNAMED and self._engine.takes(self._kind) is None
        names = _STREAMS if self._unasked else _NAMES
        if self._added and status in _REFUSING and (unknown or names.search(document)):
            if names.search(document):
                self._engine.note(self._kind, takes=False)
            self._added = False
            return 0.0
        return None
