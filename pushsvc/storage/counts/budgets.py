"""Budgets of models' answers in Redis, over all workers and hosts: taken when a question is asked, and settled when the
answer's tokens are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pushsvc.settings.budget import Budget
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.scripts import Command, Script

_TAKE: Final = Script("counts/budget")
_SETTLE: Final = Script("counts/settle")


class Standing(NamedTuple):
    """A subject's standing with one budget. `window`: the number of its window; `taken`: by the answer at hand;
    `resets`: seconds to the window's end."""

    budget: Budget
    subject: str
    window: int
    taken: int
    used: int
    resets: float

    @property
    def left(self) -> int:
        """The amount that is left, reservations counted as used."""
        return max(0, self.budget.amount - self.used)


class Budgets:
    """Counts against all budgets of one partition."""

    def __init__(self, store: RedisClient, budgets: Sequence[Budget]) -> None:
        self._store = store
        self._budgets = budgets

    def __bool__(self) -> bool:
        return bool(self._budgets)

    def take(self, subjects: Mapping[str, str], wanted: Mapping[str, int]) -> tuple[Standing | None, list[Standing]]:
        """Take from each budget whose subject is named; give the one that is used up, for which nothing was taken, or
        None, and how each stands. `subjects`: by user, token and model; `wanted`: by tokens and answers, {}: only look.
        Raises Unavailable."""
        each = [(budget, subjects[budget.by]) for budget in self._budgets if subjects.get(budget.by)]
        if not each:
            return None, []
        met, *told = self._store.execute_one(take(self._store.keys, each, wanted))
        standings = [
            Standing(budget, subject, told[4 * i], told[4 * i + 1], told[4 * i + 2], told[4 * i + 3] / 1000)
            for i, (budget, subject) in enumerate(each)
        ]
        return (standings[met - 1] if met else None), standings

    def noted(self, generation_id: str) -> bytes | None:
        """The amount that a generation took, if that is not settled."""
        found: bytes | None = self._store.execute_one(("HGET", self._store.keys.generation(generation_id), "budget"))
        return found

    def settle(self, generation_id: str | None, more: Sequence[tuple[str, int, int]]) -> bool:
        """Count what was used beside what was taken: for each, the key's end, the window, and how much more. None:
        there is no generation. False: it was settled before."""
        return bool(self._store.execute_one(settle(self._store.keys, generation_id, more)))


def place(budget: Budget, subject: str) -> str:
    """The end of the key with the counts of a subject."""
    return f"{budget.kind}-{budget.seconds}-{budget.by}:{subject}"


def take(keys: Keys, each: Sequence[tuple[Budget, str]], wanted: Mapping[str, int]) -> Command:
    """The command that takes from budgets."""
    numbers = [n for budget, _ in each for n in (wanted.get(budget.kind, 0), budget.amount, budget.seconds * 1000)]
    return _TAKE.call([keys.rate("llm_budget", place(*one)) for one in each], *numbers)


def settle(keys: Keys, generation_id: str | None, more: Sequence[tuple[str, int, int]]) -> Command:
    """The command that settles; without a generation its record is named by a key that does not exist."""
    names = [keys.generation(generation_id or "")] + [keys.rate("llm_budget", end) for end, _, _ in more]
    return _SETTLE.call(names, int(generation_id is None), *(n for _, *two in more for n in two))


def trial(keys: Keys, user: str) -> list[Command]:
    """The commands to try at the start."""
    budget = Budget(9, "answers", 60, "user", "")
    return [take(keys, [(budget, user)], {"answers": 1}), settle(keys, None, [(place(budget, user), 0, 0)])]
