"""Rights: tokens, cookies, tickets, other sites' pages; every refusal is a problem."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import jwt
import pytest

from tests.conftest import Start
from tests.support.clients.eventsource import EventSource, until
from tests.support.stack import SECRET, Stack
from tests.support.tokens import LEEWAY, bearer, new_ticket, unsigned

BAD_HEADERS = {
    "none at all": {},
    "not a token": bearer("nonsense"),
    "empty": {"Authorization": "Bearer"},
    "another scheme": {"Authorization": "Basic YTpi"},
    "alg none": bearer(unsigned({"sub": "alice"})),
    "another key": bearer(jwt.encode({"sub": "alice"}, "x" * 40, algorithm="HS256")),
    "another algorithm": bearer(jwt.encode({"sub": "alice"}, SECRET * 2, algorithm="HS512")),
    "expired": bearer(jwt.encode({"sub": "alice", "exp": int(time.time()) - LEEWAY - 1}, SECRET, algorithm="HS256")),
    "bad claim": bearer(jwt.encode({"sub": "alice", "publish": "*"}, SECRET, algorithm="HS256")),
    "bad cookie": {"Cookie": "pushsvc_token=nonsense"},
}


@pytest.mark.parametrize("headers", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/events"),
        ("POST", "/publish"),
        ("POST", "/tickets"),
        ("GET", "/history?channel=all"),
        ("GET", "/unread"),
    ],
)
def test_bad_credentials(stack: Stack, method: str, path: str, headers: dict[str, str]) -> None:
    answer = httpx.request(method, f"{stack.url}{path}", headers=headers, trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert SECRET not in answer.text


def test_publish_needs_the_channel(stack: Stack, user: str) -> None:
    mine = stack.bearer("backend", publish=[f"user:{user}*", "topic:news"])
    cases: list[tuple[dict[str, Any], int]] = [
        ({"user": user}, 200),
        ({"user": f"{user}-2"}, 200),
        ({"topic": "news"}, 200),
        ({"user": "someone"}, 403),
        ({"topic": "news2"}, 403),
        ({"all": True}, 403),
        ({"users": [user, "someone"]}, 403),
    ]
    for item, status in cases:
        answer = stack.post("/publish", item | {"data": "-"}, mine)
        assert answer.status_code == status, item
    assert stack.post("/publish", {"user": user, "data": "-"}, stack.bearer(user)).status_code == 403


def test_listening_needs_the_channel(stack: Stack, user: str) -> None:
    mine = stack.bearer(user, subscribe=["topic:sport.*"])
    for query, status in [("/events?topics=news", 403), ("/history?channel=topic:news", 403)]:
        assert stack.get(query, mine).status_code == status
    assert stack.get("/history?channel=user:someone-else", mine).status_code == 403
    assert stack.get(f"/history?channel=user:{user}", mine).status_code == 200
    assert stack.get("/history?channel=topic:sport.chess", mine).status_code == 200
    with EventSource(f"{stack.url}/events?topics=sport.chess", mine) as source:
        assert source.wait_open().statuses == [200]
    assert stack.get("/events", stack.bearer(publish=["*"])).status_code == 403, "no user, no events of its own"


def test_a_cookie_is_as_good_as_a_header(stack: Stack, user: str) -> None:
    cookie = {"Cookie": f"pushsvc_token={stack.token(user)}"}
    with EventSource(f"{stack.url}/events", cookie) as source:
        source.wait_open()
        event_id = stack.publish(user=user)
        source.wait_ids(event_id)


def test_the_connection_ends_with_its_token(stack: Stack, base: str, user: str) -> None:
    with EventSource(f"{base}/events", bearer(stack.token(user, ttl=2 - LEEWAY))) as source:
        source.wait_open()
        source.wait(lambda source: source.closed, "the end of the stream")
        assert source.statuses == [200]
    assert stack.get("/unread", bearer(stack.token(user, ttl=-LEEWAY - 1))).status_code == 401


@pytest.mark.every_redis
@pytest.mark.every_script
def test_a_ticket_works_once_and_its_cookie_goes_on(stack: Stack, base: str, user: str) -> None:
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user, topics=[f"{user}.t"])
    assert ticket["expires_in"] == 60
    url = f"{base}{ticket['url']}"
    with EventSource(url) as source:
        source.wait_open()
        assert source.statuses == [200]
        cookie = source.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        ids = [stack.publish(user=user), stack.publish(topic=f"{user}.t")]
        source.wait_ids(*ids)
    headers = {"Cookie": cookie.split(";")[0], "Last-Event-ID": ids[0]}
    with EventSource(url, headers) as again:
        again.wait_ids(ids[1])
        assert ids[0] not in again.ids
        with EventSource(url) as stranger:
            stranger.wait(lambda source: source.closed, "the refusal")
            assert stranger.statuses == [401]


@pytest.mark.parametrize("cookies", [True, False])
def test_a_reconnecting_browser_keeps_what_its_ticket_gave(start: Start, user: str, cookies: bool) -> None:
    mine = start(workers=2)
    ticket = new_ticket(mine, mine.bearer(subscribe=["*"]), user=user, topics=["t"])
    with EventSource(f"{mine.url}{ticket['url']}", reconnect=True, cookies=cookies) as source:
        source.wait_open()
        ids = [mine.publish(topic="t", data="1")]
        source.wait_ids(ids[0])
        for part, which in (("gunicorn", slice(1, None)), ("valkey", slice(1)), ("gunicorn", slice(1))):
            mine.kill(part, which)
            mine.until_ready()
            # With a key: what is under way while Redis is killed may have been done, and is asked for again.
            ids.append(mine.publish(topic="t", data=part, key=f"{part}-{len(ids)}"))
            source.wait_ids(*ids)
        assert source.ids == ids
        assert set(source.statuses) == {200}


def test_a_refusal_does_not_spend_a_ticket(shared: Start, user: str) -> None:
    stack = shared(workers=1, max_connections=1)
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user)
    assert stack.get(f"{ticket['url']}&since=never", {}).status_code == 400
    assert stack.get(f"{ticket['url']}&topics=other", {}).status_code == 403
    assert stack.get(f"/history?channel=user:{user}&ticket={ticket['ticket']}", {}).status_code == 401
    with stack.listen(user), EventSource(f"{stack.url}{ticket['url']}") as refused:
        refused.wait(lambda source: source.closed, "the refusal")
        assert refused.refusals[0]["status"] == 503

    def accepted() -> bool:
        with EventSource(f"{stack.url}{ticket['url']}") as source:
            return not source.wait_open().refusals

    until(accepted, "the ticket to be good once there is room")


def test_tabs_of_one_user_neither_share_topics_nor_lose_them(stack: Stack, user: str) -> None:
    backend = stack.bearer(subscribe=["*"])
    tickets = [new_ticket(stack, backend, user=user, topics=topics) for topics in (["a"], ["b"], [])]
    sources = [EventSource(f"{stack.url}{ticket['url']}").wait_open() for ticket in tickets]  # all before any cookie
    cookie = {"Cookie": sources[-1].headers["set-cookie"].split(";")[0]}
    for source in sources:
        source.close()
    for ticket, allowed in zip(tickets, ("a", "b", ""), strict=True):
        for topic in ("a", "b"):
            status = 200 if topic == allowed else 403
            with EventSource(f"{stack.url}{ticket['url']}&topics={topic}", cookie) as source:
                source.wait(lambda source: source.statuses, "an answer")
                assert source.statuses == [status]


@pytest.mark.every_redis
@pytest.mark.every_script
def test_twenty_races_for_one_ticket_leave_one_stream(stack: Stack, user: str) -> None:
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user)
    sources: list[EventSource] = []
    barrier = threading.Barrier(20)

    def race() -> None:
        barrier.wait()
        sources.append(EventSource(f"{stack.url}{ticket['url']}"))

    threads = [threading.Thread(target=race) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for source in sources:
        source.wait(lambda source: source.statuses, "an answer")
    until(lambda: sum(not source.closed for source in sources) == 1, "all but one to end")
    [last] = [source for source in sources if not source.closed]
    last.wait_ids(stack.publish(user=user))
    assert {source.statuses[0] for source in sources} == {200}
    for source in sources:
        source.close()


@pytest.mark.every_redis
def test_two_users_in_one_browser_are_not_mixed(stack: Stack, user: str) -> None:
    backend = stack.bearer(subscribe=["*"])
    names = [f"{user}-a", f"{user}-b"]
    urls = [f"{stack.url}{new_ticket(stack, backend, user=name)['url']}" for name in names]
    cookies = []
    for url in urls:
        with EventSource(url) as source:
            cookies.append(source.wait_open().headers["set-cookie"].split(";")[0])
    for name, url in zip(names, urls, strict=True):
        with EventSource(url, {"Cookie": "; ".join(cookies)}) as source:
            source.wait_open()
            published = {other: stack.publish(user=other, data=other) for other in names}
            source.wait_ids(published[name])
            assert set(published.values()) & set(source.ids) == {published[name]}


@pytest.mark.every_redis
def test_a_ticket_gives_no_more_than_its_maker_has(stack: Stack, user: str) -> None:
    mine = stack.bearer(user, subscribe=["topic:a"])
    assert stack.post("/tickets", {}, mine).status_code == 200
    assert stack.post("/tickets", {"topics": ["a"]}, mine).status_code == 200
    assert stack.post("/tickets", {"topics": ["b"]}, mine).status_code == 403
    assert stack.post("/tickets", {"user": "someone-else"}, mine).status_code == 403
    ticket = new_ticket(stack, mine, topics=["a"])
    assert stack.get(f"/events?ticket={ticket['ticket']}&topics=b", {}).status_code == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user": "a b"}, "user"),
        ({"user": None}, "user"),
        ({"user": "a", "topics": "news"}, "topics"),
        ({"user": "a", "topics": ["x\ny"]}, "topics"),
        ({"user": "a", "ttl": 0}, "ttl"),
        ({"user": "a", "ttl": "60"}, "ttl"),
        ({"user": "a", "ttl": 10**9}, "ttl"),
        ({"user": "a", "admin": True}, "admin"),
    ],
)
def test_bad_ticket_requests_name_the_field(stack: Stack, body: dict[str, Any], field: str) -> None:
    answer = stack.post("/tickets", body, stack.bearer(subscribe=["*"]))
    assert (answer.status_code, [*answer.json()["errors"]]) == (400, [field])


def test_other_sites_may_not_borrow_a_cookie(stack: Stack, user: str) -> None:
    cookie = {"Cookie": f"pushsvc_token={stack.token(user, publish=['*'])}"}
    body = {"user": user, "data": "-"}
    foreign = cookie | {"Origin": "https://evil.example"}
    assert stack.post("/publish", body, foreign).status_code == 403
    assert stack.get("/events", foreign).status_code == 403
    embedded = cookie | {"Sec-Fetch-Site": "cross-site"}  # no Origin: a link, an image
    assert stack.get("/events", embedded).status_code == 403
    assert stack.post("/publish", body, cookie | {"Origin": stack.url}).status_code == 200
    assert stack.post("/publish", body, cookie).status_code == 200


def test_cross_origin_requests_are_answered_for_allowed_origins_alone(start: Start, stack: Stack, user: str) -> None:
    friend = "https://app.example.com"
    mine = start(workers=1, allowed_origins=f"{friend}, https://other.example.com")
    cookie = {"Cookie": f"pushsvc_token={mine.token(user, publish=['*'])}"}
    allowed = mine.post("/publish", {"user": user, "data": "-"}, cookie | {"Origin": friend})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == friend
    assert allowed.headers["access-control-allow-credentials"] == "true"
    preflight = httpx.options(
        f"{mine.url}/publish",
        headers={
            "Origin": friend,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type, idempotency-key",
        },
        trust_env=False,
    )
    assert preflight.status_code == 200
    assert "idempotency-key" in preflight.headers["access-control-allow-headers"]
    with EventSource(f"{mine.url}/events", cookie | {"Origin": friend}) as source:
        assert source.wait_open().headers["access-control-allow-origin"] == friend
    refused = mine.post("/publish", {"user": user, "data": "-"}, cookie | {"Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    assert "access-control-allow-origin" not in stack.get("/healthz", {"Origin": friend}).headers
