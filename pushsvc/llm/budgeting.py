"""Budgets of answers: what a question takes when it is asked, and how that is settled once its tokens are known."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from pushsvc import metrics
from pushsvc.auth import Identity
from pushsvc.errors import OverBudget, PushError
from pushsvc.events.exact_json import NotJson
from pushsvc.llm.formats import members
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.record import Record
from pushsvc.llm.request import Question
from pushsvc.storage.counts.budgets import Budgets, Standing, place

logger = logging.getLogger(__name__)

UNBOUNDED_TOKENS: Final = 16384  # that an answer is taken to have, whose question names no bound
_BOUNDS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_HEADERS: Final = {"tokens": "tokens", "answers": "requests"}  # a budget's kind in the names of headers


class Reservation:
    """The amounts that one question has taken. `headers`: say how its user stands now."""

    def __init__(self, budgets: Budgets, standings: Sequence[Standing]) -> None:
        self._budgets = budgets
        self._taken = standings
        self.headers = headers(standings)

    def fields(self) -> list[str | bytes]:
        """The field and value that keep it in the record of the generation that is begun."""
        taken = [(place(each.budget, each.subject), each.budget.kind, each.window, each.taken) for each in self._taken]
        return ["budget", orjson.dumps(taken)] if taken else []

    def give_back(self) -> None:
        """Take nothing: no generation was begun."""
        more = [(place(each.budget, each.subject), each.window, -each.taken) for each in self._taken]
        if more:
            with contextlib.suppress(PushError):
                self._budgets.settle(None, more)


class Budgeting:
    """Keeps the budgets of one partition."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets

    @contextlib.contextmanager
    def reserving(self, identity: Identity, question: Question) -> Iterator[Reservation]:
        """Take what the question may use from all budgets that it concerns; it is given back after an exception. Raises
        OverBudget, or Unavailable."""
        wanted = {"tokens": _tokens(question), "answers": 1} if self._budgets else {}
        reservation = Reservation(self._budgets, self._take(identity, question.about.model, wanted))
        try:
            yield reservation
        except BaseException:
            reservation.give_back()
            raise

    def _take(self, identity: Identity, model: str, wanted: Mapping[str, int]) -> list[Standing]:
        met, standings = self._budgets.take(_subjects(identity, model), wanted)
        if met is None:
            return standings
        seconds = max(1, math.ceil(met.resets))
        raise OverBudget(
            f"PUSHSVC_LLM_BUDGET allows {met.budget.words}, which are used up; try again in {seconds} s.",
            retry_after=seconds,
            standing=headers(standings),
        )

    def standings(self, identity: Identity, model: str) -> list[Standing]:
        """A caller's standing with each budget; with those by model only if one is named. Raises Unavailable."""
        return self._budgets.take(_subjects(identity, model), {})[1]

    def counted(self, record: Record, whole: Json, usage: Mapping[str, Any]) -> None:
        """Count the tokens of an answer that has ended, and settle what it took. One of which nothing came, such as a
        refusal, uses nothing up."""
        if self._budgets and (noted := self._budgets.noted(record.id)) is not None:
            self._settle(record.id, noted, whole, usage)
        metrics.count_tokens(usage)

    def _settle(self, generation_id: str, noted: bytes, whole: Json, usage: Mapping[str, Any]) -> None:
        came = bool(whole.get("choices"))
        used = {"tokens": int(usage.get("total_tokens") or 0) if came else 0, "answers": int(came)}
        more = [(end, window, used[kind] - taken) for end, kind, window, taken in orjson.loads(noted)]
        self._budgets.settle(generation_id, more)


def _subjects(identity: Identity, model: str) -> dict[str, str]:
    return {"user": identity.need_user(), "token": identity.mark, "model": model}


def _tokens(question: Question) -> int:
    """The most tokens that an answer may use, its question's included."""
    with contextlib.suppress(NotJson):
        given = members.read(question.body) or {}
        for name in _BOUNDS:
            bound = given[name].value if name in given else None
            if isinstance(bound, float) and 0 < bound < UNBOUNDED_TOKENS * 100:
                return max(1, question.about.prompt + int(bound) * question.choices)
    return question.about.prompt + UNBOUNDED_TOKENS * question.choices


def headers(standings: Sequence[Standing]) -> dict[str, str]:
    """The headers by which OpenAI's clients know of limits: of each kind the budget of which the smallest part is
    left."""
    found: dict[str, str] = {}
    for kind, name in _HEADERS.items():
        each = [one for one in standings if one.budget.kind == kind]
        if each:
            tightest = min(each, key=lambda one: one.left / one.budget.amount)
            found[f"x-ratelimit-limit-{name}"] = str(tightest.budget.amount)
            found[f"x-ratelimit-remaining-{name}"] = str(tightest.left)
            found[f"x-ratelimit-reset-{name}"] = f"{math.ceil(tightest.resets)}s"
    return found
