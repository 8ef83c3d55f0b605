"""A browser that uses tickets of many users keeps some of their sessions, and is never locked out by all of them."""

from __future__ import annotations

import httpx
import orjson

from tests.support.clients.ticket_streams import digest, make_stale, status, url_of, used
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


def test_tabs_of_one_user_share_a_session(stack: Stack, user: str) -> None:
    urls = [url_of(stack, user) for _ in range(3)]
    with httpx.Client(trust_env=False, timeout=40) as client:
        assert [opened(client, url) for url in urls] == [200] * 3
        assert len(client.cookies.jar) == 1
        for url in urls:
            make_stale(stack, user, url)
        assert [opened(client, url) for url in urls] == [200] * 3


def test_a_spent_ticket_opens_with_the_cookie_of_its_own_session_alone(stack: Stack, user: str) -> None:
    """Tabs that open at the same moment begin one each, and the browser keeps both."""
    urls = [url_of(stack, user) for _ in range(2)]
    first, second = (used(url)[1] for url in urls)
    for url in urls:
        make_stale(stack, user, url)
    assert first.partition("=")[0] != second.partition("=")[0]
    assert [status(url, Cookie=second) for url in urls] == [401, 200]
    assert [status(url, Cookie=f"{first}; {second}") for url in urls] == [200, 200]
    assert status(urls[0], Cookie=first) == 200


def test_what_an_earlier_version_kept_opens_with_any_cookie_of_the_user(stack: Stack, user: str) -> None:
    url = url_of(stack, user)
    used(url)
    make_stale(stack, user, url)
    spent = stack.keys_of(user).spent_ticket(digest(url))
    kept = orjson.loads(stack.redis.get(spent))  # type: ignore[arg-type]
    assert kept.pop("session")
    stack.redis.set(spent, orjson.dumps(kept), keepttl=True)
    assert status(url, Cookie=used(url_of(stack, user))[1]) == 200
