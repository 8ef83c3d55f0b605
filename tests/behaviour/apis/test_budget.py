"""Budgets of tokens and answers: over all workers, told to clients, settled by what was used."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.behaviour.apis.conftest import strict
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.models.model import HEAD, Conversation, Model, event
from tests.support.stack import Stack

PATH = "/v1/chat/completions"


def used(total: int) -> Any:
    def script(conversation: Conversation) -> None:
        usage = {"prompt_tokens": 1, "completion_tokens": total - 1, "total_tokens": total}
        conversation.send(HEAD).say("Hi").chunk(event(None, choices=[], usage=usage)).done()

    return script


@pytest.fixture
def budgeted(shared: Start, model: Model) -> Stack:
    budget = "1000 tokens per day; 5 answers per week by token; 5000 tokens per week by model"
    return shared(llm_base_url=model.url, llm_budget=budget, workers=2, rate_ask="off")


def ask(stack: Stack, headers: dict[str, str], **members: Any) -> httpx.Response:
    body = {"model": f"m{id(headers)}", "messages": [{"role": "user", "content": "q"}], "max_tokens": 400} | members
    return stack.post(PATH, body, headers)


def standing(stack: Stack, headers: dict[str, str], model: str = "") -> dict[str, int]:
    data = stack.get("/v1/usage", headers, model=model).json()["data"]
    return {f"{each['kind']} by {each['by']}": each["used"] for each in data}


def test_it_is_reserved_told_settled_and_kept(budgeted: Stack, user: str, model: Model) -> None:
    model.script = used(300)
    headers = budgeted.bearer(user)
    first = ask(budgeted, headers)
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert first.headers["x-ratelimit-remaining-tokens"] == "599"
    assert (first.headers["x-ratelimit-remaining-requests"], first.headers["x-ratelimit-limit-requests"]) == ("4", "5")
    assert first.headers["x-ratelimit-reset-tokens"].endswith("s")
    until(lambda: standing(budgeted, headers)["tokens by user"] == 300, "the settling")
    assert standing(budgeted, headers, f"m{id(headers)}") == {
        "tokens by user": 300, "answers by token": 1, "tokens by model": 300,
    }  # fmt: skip
    for _ in range(3):
        assert ask(budgeted, headers).status_code == 200
        until(lambda: standing(budgeted, headers)["tokens by user"] % 300 == 0, "the settling")
    over = ask(budgeted, headers)
    assert (over.status_code, over.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "1000 tokens per day" in over.json()["error"]["message"]
    assert int(over.headers["retry-after"]) > 0
    assert (over.headers["x-ratelimit-remaining-tokens"], over.headers["x-should-retry"]) == ("0", "false")
    with pytest.raises(openai.RateLimitError):
        strict(budgeted, user).responses.create(model="m", input="q")
    assert len(model.conversations) == 4
    assert ask(budgeted, budgeted.bearer(f"{user}-other")).status_code == 200


def test_by_token(budgeted: Stack, user: str, model: Model) -> None:
    model.script = used(2)
    headers = budgeted.bearer(user)
    statuses = []
    for _ in range(6):
        statuses.append(ask(budgeted, headers).status_code)
        until(
            lambda: standing(budgeted, headers)["tokens by user"] == 2 * len(statuses) or 429 in statuses,
            "the settling",
        )
    assert statuses == [200] * 5 + [429]
    assert ask(budgeted, budgeted.bearer(user, jti="another")).status_code == 200


def test_what_gives_nothing_uses_nothing(budgeted: Stack, user: str, model: Model) -> None:
    model.script = lambda c: c.answer("400 Bad", b'{"error":{"message":"no"}}')
    headers = budgeted.bearer(user)
    assert ask(budgeted, headers).status_code == 400
    assert ask(budgeted, headers, messages=[]).status_code == 400
    until(lambda: set(standing(budgeted, headers).values()) == {0}, "the settling")
    model.script = used(7)
    for _ in range(2):  # the same answer
        ask(budgeted, headers | {"Idempotency-Key": "k"})
        until(lambda: standing(budgeted, headers)["tokens by user"] == 7, "the settling")


def test_a_repeat_needs_no_budget_and_a_deleted_answer_gives_back(budgeted: Stack, user: str, model: Model) -> None:
    headers = budgeted.bearer(user)
    keyed = headers | {"Idempotency-Key": f"{user}-k"}
    model.script = used(1000)
    first = ask(budgeted, keyed, max_tokens=1000)
    until(lambda: standing(budgeted, headers)["tokens by user"] >= 1000, "the settling")
    again = ask(budgeted, keyed, max_tokens=1000)
    assert (again.status_code, again.json()) == (200, first.json())
    assert ask(budgeted, headers).status_code == 429
    other = budgeted.bearer(f"{user}-other")
    model.script = lambda conversation: conversation.send(HEAD)
    asked = {"model": "deleted", "input": "q", "background": True, "max_output_tokens": 400}
    name = budgeted.post("/v1/responses", asked, other).json()["id"]
    assert standing(budgeted, other)["tokens by user"] > 400
    url = f"{budgeted.url}/v1/responses/{name}"
    assert httpx.delete(url, headers=other, trust_env=False).status_code == 200
    until(lambda: standing(budgeted, other)["tokens by user"] == 0, "the settling")


def test_racing_requests_pass_it_by_one_answer_at_most(budgeted: Stack, user: str, model: Model) -> None:
    """Each names no bound, so each reserves all that is left; what it does not use, the next one may."""
    model.script = used(300)
    headers = budgeted.bearer(user)

    def race(number: int) -> int:
        own = budgeted.bearer(user, jti=str(number))
        return ask(budgeted, own, max_tokens=None, model="racing").status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = Counter(status for _ in range(5) for status in pool.map(race, range(20)))
    assert set(statuses) == {200, 429}
    until(lambda: standing(budgeted, headers)["tokens by user"] == 300 * statuses[200], "the settling")
    assert 1 <= statuses[200] <= 4
