"""The progress of an answer: whether a token has come, whether it is complete, and whether it takes too long."""

from __future__ import annotations

from typing import Final, NamedTuple

from pushsvc import metrics
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json, index_of
from pushsvc.llm.outcome import COMPLETED, Ending, timeout

# Wait after the last `finish_reason`, for the count of tokens, or after [DONE], for the end of the response.
MOMENT_SECONDS: Final = 1.0

Numbers = set[int] | frozenset[int]
_NONE: Final[Numbers] = frozenset()  # shared until there are some; each `frozenset()` would be one of 216 bytes


class Limits(NamedTuple):
    """Time limits in seconds: how long the model may be silent before its first token and between two tokens, and how
    long the whole answer may take. For an answer that is not streamed, only `total` counts."""

    first_token: float
    between_tokens: float
    total: float


class Progress:
    """Follows an answer, and tells when it is complete, or too slow. `now`: always a monotonic time."""

    __slots__ = (
        "_choices", "_done_at", "_finished_at", "_given", "_reasons", "asked_at", "begun_at", "heard_at", "spoke",
    )  # fmt: skip

    def __init__(self, choices: int, now: float) -> None:
        """`choices`: the number of choices that were asked for."""
        self._choices = choices
        self.asked_at = now
        self.begun_at = now  # before that, if another worker began the answer
        self.heard_at = now  # when any byte came last, even of a comment
        self.spoke = False  # whether a token came
        self._given = _NONE  # indexes of choices that came
        self._reasons = _NONE  # those of them that have a `finish_reason`
        self._finished_at: float | None = None
        self._done_at: float | None = None

    def take(self, value: Json) -> None:
        """Take a chunk, which came at `heard_at`."""
        choices = value.get("choices") or ()
        for choice in choices:
            if self._choices > 1 or choice.get("finish_reason"):
                self._note(choice)
        if not self.spoke or self._finished_at is not None:
            speaks = any(map(openai.says, choices))
            if speaks and not self.spoke:
                metrics.FIRST_TOKEN.observe(self.heard_at - self.asked_at)
            self.spoke = self.spoke or speaks
            if self.finished and (speaks or self._finished_at is None):
                self._finished_at = self.heard_at
        elif self.finished:
            self._finished_at = self.heard_at

    @property
    def is_midway(self) -> bool:
        """Whether a chunk that differs from an earlier one only in its text changes nothing here."""
        return self.spoke and self._finished_at is None

    def _note(self, choice: Json) -> None:
        index = index_of(choice)
        if index not in self._given:
            self._given = _with(self._given, index)
        if choice.get("finish_reason") and index not in self._reasons:
            self._reasons = _with(self._reasons, index)

    def done(self) -> None:
        """Take the mark of the end, [DONE]."""
        self._done_at = self.heard_at

    @property
    def finished(self) -> bool:
        """Whether all choices that were asked for have ended; then the answer is complete, whatever follows."""
        return len(self._reasons) >= self._choices

    def complete(self, *, whole: bool) -> bool:
        """Whether the answer is complete if nothing more comes. `whole`: the response ended properly. Some servers give
        fewer choices than were asked for."""
        ended = bool(self._reasons) and self._given <= self._reasons
        done = self._done_at is not None
        return self.finished or (whole and (done or ended)) or (done and ended)

    def ending(self, now: float, limits: Limits, *, streams: bool, paused: bool) -> Ending | None:
        """The ending that is due. None: none is. `streams`: a stream was asked for; `paused`: reading of the response
        is paused, so silence does not count."""
        for since in (self._finished_at, self._done_at):
            if since is not None and now - since > MOMENT_SECONDS:
                return Ending(COMPLETED)
        if now - self.begun_at > limits.total:
            return timeout("The whole answer took too long.", "total_timeout")
        silent = 0.0 if paused else now - self.heard_at
        if self.spoke:
            if silent > limits.between_tokens:
                return timeout("The model fell silent in the middle of its answer.", "between_tokens_timeout")
        elif streams and silent > limits.first_token:
            return timeout("The model did not begin to answer in time.", "first_token_timeout")
        return None


def _with(known: Numbers, index: int) -> Numbers:
    if not isinstance(known, set):
        return {*known, index}
    known.add(index)
    return known
