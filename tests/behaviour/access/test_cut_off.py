"""An admin ends a user's connections, on all workers, and what could bring them back."""

from __future__ import annotations

import threading

import httpx
import pytest

from tests.support.clients.eventsource import EventSource, until
from tests.support.stack import Stack, connections

NAMES = pytest.mark.parametrize("kind", ["{}", "{}:with:colons", "\u8a9e.{}"])


def cut(stack: Stack, user: str, **claims: object) -> httpx.Response:
    headers = stack.bearer(None, **({"admin": True} | claims))
    return httpx.delete(f"{stack.url}/connections", params={"user": user}, headers=headers, trust_env=False, timeout=20)


def ended(source: EventSource) -> None:
    source.wait(lambda each: each.closed, "the end")
    assert [problem["status"] for problem in source.refusals] == [401]


@NAMES
@pytest.mark.every_redis
def test_all_streams_of_the_user_end_and_no_others(stack: Stack, user: str, kind: str) -> None:
    name = kind.format(user)
    with stack.listen(f"{name}.2") as other:
        mine = [stack.listen(name) for _ in range(4)]  # on both workers, most likely
        until(lambda: sum(1 for each in mine if each.opened) == 4, "the streams")
        answer = cut(stack, name)
        assert (answer.status_code, answer.json()) == (200, {"user": name, "connections": 4})
        for source in mine:
            ended(source)
            source.close()
        other.wait_ids(stack.publish(user=f"{name}.2"))
    with stack.listen(name) as again:  # the token is still good
        again.wait_ids(stack.publish(user=name))


@pytest.mark.every_redis
def test_a_long_poll_ends(stack: Stack, user: str) -> None:
    found: list[httpx.Response] = []
    params = {"channel": f"user:{user}", "wait": "60"}

    def poll() -> None:
        url = f"{stack.url}/history"
        found.append(httpx.get(url, params=params, headers=stack.bearer(user), trust_env=False, timeout=70))

    waiting = threading.Thread(target=poll)
    waiting.start()
    until(lambda: connections(stack, user) == 1, "the poll")
    assert cut(stack, user).json()["connections"] == 1
    waiting.join(15)
    assert found[0].status_code == 200
    assert found[0].json()["events"] == []


@pytest.mark.every_redis
def test_tickets_cookies_and_proofs_end(stack: Stack, user: str) -> None:
    def ticket() -> str:
        answer = stack.post("/tickets", {"user": user}, stack.bearer(user))
        return str(answer.json()["url"])

    unspent, spent, proven = ticket(), ticket(), ticket()
    first = stack.publish(user=user)
    with EventSource(stack.url + spent, {"Sec-Fetch-Site": "same-origin"}).wait_open() as source:
        cookie = source.headers["set-cookie"].partition(";")[0]
        source.wait_ids(first)
    with EventSource(f"{stack.url}{proven}&resume=id").wait_open() as source:
        source.wait_ids(stack.publish(user=user))
        proof = source.last_id
    assert "~" in proof
    assert cut(stack, user).status_code == 200
    tries = [
        (unspent, {}),
        (spent, {"Cookie": cookie, "Last-Event-ID": first}),
        (proven, {"Last-Event-ID": proof}),
    ]
    for url, headers in tries:
        with EventSource(stack.url + url, headers) as source:
            source.wait(lambda each: each.closed, "the refusal")
            assert source.statuses == [401]
    assert stack.post("/ack", {"id": proof}, {}).status_code == 401
    with EventSource(stack.url + ticket()).wait_open() as source:  # a new one is good
        source.wait_ids(stack.publish(user=user))


def test_who_may(stack: Stack, user: str) -> None:
    assert cut(stack, user, admin=False).status_code == 403
    assert httpx.delete(f"{stack.url}/connections?user={user}", trust_env=False).status_code == 401
    refused = httpx.delete(f"{stack.url}/connections", headers=stack.bearer(None, admin=True), trust_env=False)
    assert (refused.status_code, [*refused.json()["errors"]]) == (400, ["user"])
    assert cut(stack, f"nobody.{user}").json()["connections"] == 0
