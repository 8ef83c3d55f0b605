"""Anything that fits a request's head costs its worker little, whoever sends it."""

from __future__ import annotations

import httpx
import pytest

from pushsvc.auth import COOKIE
from tests.support.stack import Stack


@pytest.mark.parametrize("path", ["/events", "/unread", "/v1/generations/gen_x/events"])
def test_a_query_has_a_bound_of_parameters(stack: Stack, base: str, user: str, path: str) -> None:
    for count, status in ((200, {200, 404}), (201, {400})):
        query = "&".join(f"_{number}=" for number in range(count))
        with httpx.stream("GET", f"{base}{path}?{query}", headers=stack.bearer(user), trust_env=False) as answer:
            assert answer.status_code in status


def test_a_hundred_topics_may_each_have_a_parameter(stack: Stack, base: str, user: str) -> None:
    query = "&".join(f"topics=t{number}" for number in range(100))
    with httpx.stream(
        "GET", f"{base}/events?{query}", headers=stack.bearer(user, subscribe=["*"]), trust_env=False
    ) as answer:
        assert answer.status_code == 200


def test_our_cookie_is_found_among_many(stack: Stack, base: str, user: str) -> None:
    others = "; ".join(f"a{number}=b" for number in range(3000))
    cookies = f"{others}; {COOKIE}={stack.token(user)}; {others}"
    headers = {"Cookie": cookies, "Sec-Fetch-Site": "same-origin"}
    assert httpx.get(f"{base}/unread", headers=headers, trust_env=False).status_code == 200


def test_a_misspelt_parameter_is_named_beside_others(stack: Stack, user: str) -> None:
    refused = stack.get(f"/events?{'x' * 10_000}=1&_=1&topic=a", stack.bearer(user))
    assert (refused.status_code, [*refused.json()["errors"]]) == (400, ["topic"])
