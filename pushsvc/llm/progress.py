"""How far an answer has come: whether anything was said, whether all of it was, and whether it takes too long. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from pushsvc.llm import openai
from pushsvc.llm.joining import Json, index_of
from pushsvc.llm.outcome import COMPLETED, Ending, timeout

# After the last reason to end, or the mark of the end: for the count of tokens, and for the end of the response.
MOMENT_SECONDS: Final = 1.0

Numbers = set[int] | frozenset[int]  # a set of its own only where there are some: thousands of answers have none yet


class Limits(NamedTuple):
    """Seconds that a model may be silent: until its first token, and between two; and those from the question to the
    end. An answer that is not streamed has the last alone."""

    first_token: float
    between_tokens: float
    total: float


class Progress:
    """Follows an answer, and says when it is complete, or too slow. `now` is a monotonic time."""

    __slots__ = (
        "_asked_at", "_choices", "_done_at", "_finished_at", "_given", "_reasons", "heard_at", "spoke",
    )  # fmt: skip

    def __init__(self, choices: int, now: float) -> None:
        """`choices`: how many were asked for."""
        self._choices = choices
        self._asked_at = now
        self.heard_at = now  # when something came last, be it a comment: a sign of life
        self.spoke = False  # a token came
        self._given: Numbers = frozenset()  # choices that came
        self._reasons: Numbers = frozenset()  # those of them that have a reason to end
        self._finished_at: float | None = None
        self._done_at: float | None = None

    def take(self, value: Json) -> None:
        """Take a chunk that came with what was heard last."""
        choices = value.get("choices") or ()
        for choice in choices:
            if self._choices > 1 or choice.get("finish_reason"):
                self._note(choice)
        if not self.spoke or self._finished_at is not None:
            speaks = any(map(openai.says, choices))
            self.spoke = self.spoke or speaks
            if self.finished and (speaks or self._finished_at is None):
                self._finished_at = self.heard_at
        elif self.finished:
            self._finished_at = self.heard_at

    def _note(self, choice: Json) -> None:
        index = index_of(choice)
        if index not in self._given:
            self._given = _with(self._given, index)
        if choice.get("finish_reason") and index not in self._reasons:
            self._reasons = _with(self._reasons, index)

    def done(self) -> None:
        """Take the mark of the end."""
        self._done_at = self.heard_at

    @property
    def finished(self) -> bool:
        """Whether all choices that were asked for have ended: whatever follows, the answer is complete."""
        return len(self._reasons) >= self._choices

    def complete(self, *, whole: bool) -> bool:
        """Whether the answer is complete, now that nothing more comes. `whole`: the response ended as it should. Some
        servers give fewer choices than were asked for."""
        ended = bool(self._reasons) and self._given <= self._reasons
        done = self._done_at is not None
        return self.finished or (whole and (done or ended)) or (done and ended)

    def ending(self, now: float, limits: Limits, *, streams: bool, paused: bool) -> Ending | None:
        """The ending that is due, if any. `streams`: a stream was asked for; `paused`: this service does not listen."""
        for since in (self._finished_at, self._done_at):
            if since is not None and now - since > MOMENT_SECONDS:
                return Ending(COMPLETED)
        if now - self._asked_at > limits.total:
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
