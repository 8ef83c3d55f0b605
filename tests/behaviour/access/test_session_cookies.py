"""A browser that uses tickets of many users keeps some of their sessions, and is never locked out by all of them."""

from __future__ import annotations

import httpx

from tests.support.stack import Stack
from tests.support.tokens import new_ticket

USERS = 60


def opened(client: httpx.Client, url: str) -> int:
    with client.stream("GET", url, headers={"Sec-Fetch-Site": "same-origin"}) as response:
        return response.status_code


def test_a_browser_keeps_the_sessions_of_its_newest_users(stack: Stack, user: str) -> None:
    tokens = stack.bearer(subscribe=["*"])
    with httpx.Client(trust_env=False, timeout=40) as client:
        client.cookies.set("pushsvc_session_of_another", "nothing", domain="127.0.0.1", path="/")
        urls = []
        for number in range(USERS):
            url = stack.url + new_ticket(stack, tokens, user=f"{user}-{number}")["url"]
            assert opened(client, url) == 200
            urls.append(url)
            kept = [(each.name, each.value or "") for each in client.cookies.jar]
            assert sum(len(name) + len(value) for name, value in kept) <= 4096 + 300
        assert "pushsvc_session_of_another" not in client.cookies
        assert len(kept) >= 10
        assert [opened(client, url) for url in (urls[-1], urls[-10])] == [200, 200]


def test_sessions_of_long_names_fit_too(stack: Stack, user: str) -> None:
    tokens = stack.bearer(subscribe=["*"])
    with httpx.Client(trust_env=False, timeout=40) as client:
        for number in range(20):
            name = f"{number}" + "\\" * 62
            url = stack.url + new_ticket(stack, tokens, user=name)["url"]
            assert opened(client, url) == 200
        assert sum(len(each.name) + len(each.value or "") for each in client.cookies.jar) <= 5000
        assert opened(client, url) == 200
