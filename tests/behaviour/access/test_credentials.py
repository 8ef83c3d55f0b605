"""The one of a request's credentials that counts, and what a token may say about time."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from jwt.utils import base64url_encode

from tests.conftest import Start
from tests.support.clients.eventsource import EventSource
from tests.support.stack import SECRET, Stack
from tests.support.tokens import LEEWAY, bearer, new_ticket, unsigned

NOT_FOR_US = ["Basic YTpi", "", "Bearer", "Bearer nonsense", "Negotiate abc==", "Token x", "nonsense", "Bearer a b c"]
HUGE = "9" * 400


def signed(claims: str) -> str:
    """A token whose claims are this text, rightly signed."""
    head = base64url_encode(b'{"alg":"HS256","typ":"JWT"}') + b"." + base64url_encode(claims.encode())
    key = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return (head + b"." + base64url_encode(key.sign(head, SECRET.encode()))).decode()


def stale() -> str:
    return jwt.encode({"sub": "x", "exp": int(time.time()) - LEEWAY - 1}, SECRET, algorithm="HS256")


@pytest.mark.parametrize("value", [*NOT_FOR_US, "stale"])
def test_what_is_not_for_us_is_passed_over(stack: Stack, base: str, user: str, value: str) -> None:
    other = {"Authorization": f"Bearer {stale()}" if value == "stale" else value}
    url = f"{base}{new_ticket(stack, stack.bearer(subscribe=['*']), user=user)['url']}"
    with EventSource(url, other) as source:
        cookie = source.wait_open().headers["set-cookie"].split(";")[0]
    with EventSource(url, other | {"Cookie": cookie}) as source:
        source.wait_open()
        source.wait_ids(stack.publish(user=user))
    token = {"Cookie": f"pushsvc_token={stack.token(user, publish=['*'], subscribe=['*'])}"}
    assert stack.get("/unread", other | token).status_code == 200
    assert stack.post("/publish", {"user": user, "data": "-"}, other | token).status_code == 200
    assert stack.post("/tickets", {}, other | token).status_code == 200
    assert stack.get("/unread", other).status_code == 401
    assert stack.get("/unread?ticket=unknown", other | token).status_code == 200
    fresh = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user)["ticket"]
    assert stack.get(f"/unread?ticket={fresh}", other | token).status_code == 200


def test_a_good_token_stands_over_all_else(stack: Stack, user: str) -> None:
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=f"{user}-other")
    headers = stack.bearer(user) | {"Cookie": "pushsvc_token=nonsense"}
    for _ in range(2):  # nor does it spend the ticket
        with EventSource(f"{stack.url}{ticket['url']}", headers) as source:
            source.wait_open()
            source.wait_ids(stack.publish(user=user))
            assert "set-cookie" not in source.headers


def test_a_refusal_is_about_the_most_specific(stack: Stack, user: str) -> None:
    def refusal(query: str, headers: dict[str, str]) -> str:
        answer = stack.get(f"/unread{query}", headers)
        assert answer.status_code == 401
        detail: str = answer.json()["detail"]
        return detail

    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user)
    with EventSource(f"{stack.url}{ticket['url']}") as source:
        source.wait_open()
    bad = bearer("nonsense") | {"Cookie": f"pushsvc_token={stale()}"}
    assert "used already" in refusal(f"?ticket={ticket['ticket']}", bad)
    assert "used already" in refusal(f"?ticket={ticket['ticket']}", {})
    assert "unknown" in refusal("?ticket=x", bad)
    assert refusal("", bad) == "The token is not valid."
    assert refusal("", {"Cookie": bad["Cookie"]}) == "The token has expired."
    assert "Send a token" in refusal("", {"Authorization": "Basic YTpi"})


def test_a_spent_ticket_s_page_does_not_hear_another_user_s(stack: Stack, user: str) -> None:
    url = stack.url + new_ticket(stack, stack.bearer(subscribe=["*"]), user=user, topics=[f"{user}.t"])["url"]
    with EventSource(url) as source:
        cookie = source.wait_open().headers["set-cookie"].split(";")[0]
    with EventSource(url, {"Cookie": cookie}) as source:
        source.wait_open()
    foreign = {"Cookie": f"pushsvc_token={stack.token(f'{user}-other', subscribe=['*'])}"}
    assert stack.get(url.removeprefix(stack.url), foreign).status_code == 401
    own = {"Cookie": f"pushsvc_token={stack.token(user, subscribe=['topic:*'])}"}
    with EventSource(url, own) as source:
        source.wait_open()
        source.wait_ids(stack.publish(topic=f"{user}.t"))


def now(seconds: float) -> int:
    return int(time.time() + seconds)


@pytest.mark.parametrize(("claim", "seconds"), [("iat", LEEWAY - 10), ("nbf", LEEWAY - 10), ("exp", 10 - LEEWAY)])
def test_a_clock_may_be_off_by_the_leeway(stack: Stack, user: str, claim: str, seconds: float) -> None:
    assert stack.get("/unread", stack.bearer(user, ttl=3600, **{claim: now(seconds)})).status_code == 200
    headers = bearer(jwt.encode({"sub": user, claim: now(seconds)}, SECRET, algorithm="HS256"))
    with EventSource(f"{stack.url}/events", headers) as source:
        source.wait_open()
        source.wait_ids(stack.publish(user=user))


@pytest.mark.parametrize(("claim", "seconds"), [("iat", 60), ("nbf", 60), ("exp", -LEEWAY - 1)])
def test_but_not_by_more(stack: Stack, user: str, claim: str, seconds: float) -> None:
    headers = bearer(jwt.encode({"sub": user, claim: now(seconds)}, SECRET, algorithm="HS256"))
    assert stack.get("/unread", headers).status_code == 401


def test_tickets_end_as_their_maker_s_token_does(stack: Stack, base: str, user: str) -> None:
    ticket = new_ticket(stack, stack.bearer(user, ttl=3 - LEEWAY))
    with EventSource(f"{base}{ticket['url']}") as source:
        cookie = source.wait_open().headers["set-cookie"].split(";")[0]
        source.wait(lambda source: source.closed, "the end of the stream")
        assert source.statuses == [200]
    assert stack.get(ticket["url"], {"Cookie": cookie}).status_code == 401


def test_the_leeway_is_a_setting(shared: Start, user: str) -> None:
    strict = shared(workers=1, leeway_seconds=0)
    for claim, seconds in (("iat", 60), ("nbf", 60), ("exp", -1)):
        headers = bearer(jwt.encode({"sub": user, claim: now(seconds)}, SECRET, algorithm="HS256"))
        assert strict.get("/unread", headers).status_code == 401
    assert strict.get("/unread", strict.bearer(user)).status_code == 200


@pytest.mark.parametrize(
    ("exp", "status"),
    [(HUGE, 200), (f"1{'0' * 15}", 200), ("1e400", 200), ("1e300", 200), ("Infinity", 200), ("9999999999.5", 200)]
    + [(f"-{HUGE}", 401), ("-1", 401), ("0", 401), ("-Infinity", 401), ("NaN", 401), ("1.5", 401), ("9" * 5000, 401)]
    + [(value, 401) for value in ("true", "null", '"9999999999"', "[]", "{}")],
)
def test_a_time_is_a_number_within_bounds(stack: Stack, user: str, exp: str, status: int) -> None:
    headers = bearer(signed(f'{{"sub": "{user}", "exp": {exp}}}'))
    assert stack.get("/unread", headers).status_code == status
    with EventSource(f"{stack.url}/events", headers) as source:
        source.wait(lambda source: source.statuses, "an answer")
        assert source.statuses == [status]
        if status == 200:
            source.wait_open()
            source.wait_ids(stack.publish(user=user))
    if status == 200:
        ticket = new_ticket(stack, headers)
        with EventSource(f"{stack.url}{ticket['url']}") as source:
            source.wait_open()
            source.wait_ids(stack.publish(user=user))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("value", [HUGE, "1e400", "Infinity", "NaN", "true", "null", '"1"'])
def test_a_beginning_is_one_too(stack: Stack, user: str, claim: str, value: str) -> None:
    headers = bearer(signed(f'{{"sub": "{user}", "{claim}": {value}}}'))
    assert stack.get("/unread", headers).status_code == 401


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("value", [f"-{HUGE}", "-1", "0", "1.5"])
def test_a_beginning_long_ago_is_one(stack: Stack, user: str, claim: str, value: str) -> None:
    assert stack.get("/unread", bearer(signed(f'{{"sub": "{user}", "{claim}": {value}}}'))).status_code == 200


def nested() -> list[Any]:
    """A token whose header or claims are nested too deeply to be read, for its signature or before it."""
    deep = "[" * 3000 + "]" * 3000
    _, claims, signature = unsigned({"sub": "alice"}).split(".")
    head = base64url_encode(f'{{"alg": "HS256", "x": {deep}}}'.encode()).decode()
    return [signed(f'{{"sub": "alice", "x": {deep}}}'), f"{head}.{claims}.{signature or 'AAAA'}"]


@pytest.mark.parametrize("token", nested(), ids=["claims", "header"])
def test_a_token_nested_too_deeply_is_none(stack: Stack, token: str) -> None:
    """Such a token is refused. Python 3.14 alone reads claims nested a hundred times as deep, and takes it."""
    assert stack.get("/unread", bearer(token)).status_code in (401, 200)
    assert json.loads(stack.get("/healthz", {}).text) == {"status": "alive"}
