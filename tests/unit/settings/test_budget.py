"""LLM_BUDGET, as people write it."""

from __future__ import annotations

import pytest

from pushsvc.config import Settings
from pushsvc.errors import ConfigError
from pushsvc.settings.budget import Budget


def budgets(words: str) -> tuple[Budget, ...]:
    return Settings.from_env({"PUSHSVC_LLM_BUDGET": words}).llm_budget


def test_good_words() -> None:
    assert budgets("") == ()
    assert budgets("200000 tokens per day") == (Budget(200000, "tokens", 86400, "user", "200000 tokens per day"),)
    found = budgets("1 answer a minute;  50 answers per hour by token ; 9 Tokens per week by model;")
    assert [each[:4] for each in found] == [
        (1, "answers", 60, "user"), (50, "answers", 3600, "token"), (9, "tokens", 604800, "model"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        "many", "200000", "200000 tokens", "tokens per day", "0 tokens per day", "-1 tokens per day", "1/day",
        "1 tokens per year", "1 token per day by team", "1 token per day; 2 tokens per day", "1.5 tokens per day",
    ],
)  # fmt: skip
def test_wrong_words_stop_the_start_with_one_line(words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        budgets(words)
    assert "\n" not in str(refused.value)
    for word in ("PUSHSVC_LLM_BUDGET", repr(words), "200000 tokens per day"):
        assert word in str(refused.value)
