"""The side of an answer that its writer sees: what is to be written next, and what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

import gevent.event

from pushsvc.llm.formats.continuing import Past
from pushsvc.llm.making import sizes, states
from pushsvc.llm.making.outbox import Outbox
from pushsvc.llm.making.progress import Progress
from pushsvc.llm.models.base import Call
from pushsvc.llm.outcome import COMPLETED, DATA_LOST, RUNNING, TAKEN, Ending, upstream_error
from pushsvc.llm.request import Question
from pushsvc.llm.store import PendingFrames
from pushsvc.llm.trail import Trail

if TYPE_CHECKING:
    from pushsvc.llm.generation import Generation
    from pushsvc.llm.generations import Generations

logger = logging.getLogger(__name__)

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})  # shared until they come, to save memory


class WrittenAnswer:
    """An answer that ends once, and is written piece by piece.

    Its life: RUNNING → ENDING by the first ending (`end`) → OVER once the ending is written (`on_written`) or cannot be
    (`on_broken`); straight to OVER if another worker has ended the generation. One step goes back: if a write is too
    large for Redis, ENDING → RUNNING, and at once, with another ending, to ENDING again (`on_too_large`).
    """

    __slots__ = (
        "_begun", "_call", "_count", "_ending", "_life", "_outbox", "_owner", "_past", "_paused", "_progress",
        "_shape", "_trail", "headers", "id", "user",
    )  # fmt: skip

    def __init__(
        self, generation_id: str, user: str, owner: Generations, question: Question, past: Past | None
    ) -> None:
        self.id = generation_id
        self.user = user
        self.headers = _NO_HEADERS  # of the model's response, passed on to the client
        self._owner = owner
        self._life = states.RUNNING
        self._begun: gevent.event.Event | None = None  # is set for who waits for the beginning
        self._trail = Trail(generation_id, user, question.about.model)
        self._progress = Progress(question.choices, time.monotonic())
        self._call: Call | None = None
        self._past = past  # None: it begins here
        self._outbox = Outbox()
        if past is not None:
            self._outbox = Outbox(past.times * sizes.WRITES, past.frame(generation_id))
            self._progress.begun_at -= past.seconds
        self._paused = False
        self._count: bytes | None = None  # a chunk with the count of tokens, for which the client did not ask
        self._shape: bytes | None = None  # see Ending
        self._ending: Ending | None = None

    def end(self, ending: Ending) -> None:
        """End the answer with what has been taken so far. Only the first ending counts."""
        if self._life is states.RUNNING:
            self._life = states.ENDING
            self._on_end(ending)
            self._ending = replace(ending, headers=dict(self.headers), count=self._count, shape=self._shape)
            self._hang_up(kindly=ending.state == COMPLETED)
            self._owner.on_pending(self._itself)

    def _on_end(self, ending: Ending) -> None:
        """Take note of the ending."""

    def _hang_up(self, *, kindly: bool) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.release() if kindly else call.close()

    @property
    def _itself(self) -> Generation:
        return cast("Generation", self)

    # Calls of the writer

    def next_write(self) -> tuple[PendingFrames, Ending | None]:
        """Give the next write; with an ending it is the last. Until it is written, every call gives the same."""
        return self._outbox.next_write(self.id, self._ending if self._life is states.ENDING else None)

    def on_written(self, state: str) -> bool:
        """Note a write, and the state in Redis after it (empty: Redis has lost it). True: there is more to write."""
        self._outbox.written()
        if not state and self._life is states.RUNNING:  # Redis has lost it; the listeners are told
            self.end(DATA_LOST)
            return True
        if state != RUNNING:
            self._over(state)
            return False
        if self._paused and self._call is not None:
            self._paused = False
            self._progress.heard_at = time.monotonic()
            self._call.resume()
        return bool(self._outbox) or self._life is states.ENDING

    def on_too_large(self) -> None:
        """End with an error, because the write is larger than Redis takes. No ending can have been written before."""
        self._outbox.drop()
        self._life = states.RUNNING
        self.end(upstream_error("The model's answer is larger than Redis takes.", "upstream_too_long"))

    def on_broken(self) -> None:
        """End with an error of the service, because writing has failed for good."""
        self._outbox.drop()
        if self._life is states.RUNNING:
            self.end(upstream_error("The service made an error; it was logged.", "internal_error"))
        else:  # the search for lost generations will write another ending
            logger.error("the ending of generation %s cannot be written", self.id)
            self._over("")

    def let_go(self) -> None:
        """Ask no more, so that another worker goes on from what is written."""
        if self._life is states.RUNNING:
            self._owner.on_pending(self._itself)
            self._leave(TAKEN)

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits to be written."""
        return self._outbox.is_empty

    def _leave(self, state: str) -> None:
        if self._life is not states.OVER:
            self._life = states.OVER
            self._ending = self._ending or Ending(state)
            self._trail.ended(self._ending)
            self._hang_up(kindly=False)
            self._wake()

    def _over(self, state: str) -> None:
        self._leave(state)
        self._owner.on_over(self._itself)

    def _wake(self) -> None:
        if self._begun is not None:
            self._begun.set()
