"""Budgets of models' answers, as the setting writes them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MOST_BUDGETS: Final = 20
_SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_WORDS: Final = re.compile(
    r"(?P<amount>[1-9]\d{0,11}) (?P<kind>tokens?|answers?) (?:per|a) (?P<window>minute|hour|day|week)"
    r"(?: by (?P<by>user|token|model))?"
)
_SHOULD: Final = (
    "should be empty, or budgets with ; between, such as 200000 tokens per day; 50 answers per hour by token "
    "(per minute, hour, day or week; by user, token or model)"
)


class Budget(NamedTuple):
    """At most `amount` tokens, or answers, in each window of `seconds`, of each user, token or model. Windows begin at
    whole multiples of their length since 1970, so a day is that of UTC."""

    amount: int
    kind: str  # tokens, or answers
    seconds: int
    by: str
    words: str


def parse_budgets(value: object) -> object:
    """Read budgets. Raises ValueError."""
    if not isinstance(value, str):
        return value
    found = [_read(" ".join(each.split())) for each in value.split(";") if each.strip()]
    if len(found) > MOST_BUDGETS or len({each[1:4] for each in found}) < len(found):
        raise ValueError(f"{_SHOULD}, each kind, window and subject once")
    return tuple(found)


def _read(words: str) -> Budget:
    match = _WORDS.fullmatch(words.lower())
    if match is None:
        raise ValueError(_SHOULD)
    kind = match["kind"].rstrip("s") + "s"
    return Budget(int(match["amount"]), kind, _SECONDS[match["window"]], match["by"] or "user", words)
