"""GET /ws: what goes down. Replay and live without a seam, the cursor, gaps, and refusals; with nginx and without."""

from __future__ import annotations

import base64
import json
import os

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.websocket import ACCEPTED, HANDSHAKE, WebSocket, frame
from tests.support.stack import Stack
from tests.support.tokens import new_ticket

NOT_OURS = {"Origin": "https://evil.example"}


def open_ws(stack: Stack, user: str, query: str = "", base: str | None = None, **claims: object) -> WebSocket:
    headers = stack.bearer(user, **claims)
    return WebSocket(f"{base or stack.url}/ws{query}", headers)


def say(stack: Stack, user: str, *numbers: int) -> list[str]:
    return stack.publish_many([{"user": user, "data": f"{user} {number}"} for number in numbers])


def mine(user: str, ws: WebSocket) -> list[dict[str, object]]:
    return [each for each in ws.events if each["channel"] != "all"]


def test_the_handshake_and_the_first_message(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base) as ws:
        assert ws.status == 101
        assert ws.headers["sec-websocket-accept"] == ACCEPTED
        assert ws.headers["upgrade"].lower() == "websocket"
        assert "sec-websocket-extensions" not in ws.headers
        ws.wait(lambda ws: ws.messages, "the first message")
        assert ws.messages[0] == {"type": "open", "id": ws.messages[0]["id"]}


def test_events_come_live_and_in_order(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base) as ws:
        ids = say(stack, user, *range(300))
        ws.wait(lambda ws: len(mine(user, ws)) >= 300, "300 events")
        assert [each["id"] for each in mine(user, ws)] == ids
        assert mine(user, ws)[7] == {"id": ids[7], "channel": f"user:{user}", "event": "message", "data": f"{user} 7"}


@pytest.mark.parametrize(
    ("data", "text"),
    [("a\nb\r\nc", "a\nb\nc"), ({"a": [1, "ä\u2028"]}, '{"a":[1,"ä\u2028"]}'), ("", ""), ("id: x\n", "id: x\n")],
)
def test_data_is_the_text_that_history_gives(stack: Stack, user: str, data: object, text: str) -> None:
    with open_ws(stack, user, "?topics=t", subscribe=["*"]) as ws:
        event = stack.publish(user=user, data=data, event="id: 7")
        ws.wait_ids(event)
    with open_ws(stack, user, "?since=earliest") as late:
        late.wait_ids(event)
    kept = stack.get("/history", stack.bearer(user), channel=f"user:{user}").json()["events"]
    for each in (mine(user, ws)[-1], mine(user, late)[-1]):
        assert each == {"id": event, "channel": f"user:{user}", "event": "id: 7", "data": text}
        assert {name: value for name, value in each.items() if name != "channel"} == kept[-1]


def test_it_resumes_after_its_cursor(stack: Stack, base: str, user: str) -> None:
    ids = say(stack, user, *range(250))
    for name in ("last_event_id", "lastEventId", "last-event-id"):
        with open_ws(stack, user, f"?{name}={ids[9]}", base) as ws:
            ws.wait(lambda ws: len(mine(user, ws)) >= 240, "the rest")
            more = say(stack, user, 999)
            ws.wait_ids(more[0])
            assert [each["id"] for each in mine(user, ws)] == ids[10:] + more
            assert ws.messages[0] == {"type": "open", "id": ids[9]}
            ids += more


def test_unread_events_come_first_and_ack_manual_keeps_them(stack: Stack, base: str, user: str) -> None:
    ids = say(stack, user, 1, 2)
    for _ in range(2):
        with open_ws(stack, user, "?ack=manual", base) as ws:
            ws.wait_ids(*ids)
    with open_ws(stack, user, "?since=now", base) as ws:
        more = say(stack, user, 3)
        ws.wait_ids(*more)
        assert [each["id"] for each in mine(user, ws)] == more


def test_topics_and_all(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, f"?topics={user}.a,{user}.b", base, subscribe=["topic:*"]) as ws:
        first = stack.publish(topic=f"{user}.a", data="1")
        second = stack.publish(topic=f"{user}.b", data="2")
        third = stack.publish(all=True, data=f"{user} 3")
        ws.wait_ids(first, second, third)
        assert [(each["channel"], each["data"]) for each in ws.events if each["id"] in (first, second, third)] == [
            (f"topic:{user}.a", "1"), (f"topic:{user}.b", "2"), ("all", f"{user} 3")
        ]  # fmt: skip


def test_a_gap_is_said(shared: Start, user: str) -> None:
    stack = shared(workers=1, keep_events=10)
    ids = say(stack, user, *range(200))
    with open_ws(stack, user, f"?last_event_id={ids[0]}") as ws:
        ws.wait_ids(ids[-1])
        (gap,) = ws.of_type("gap")
        assert gap["requested"] == ids[0]
        assert gap["reason"] == "trimmed"
        assert gap["oldest"] in ids
        assert ws.messages.index(gap) == 1


def test_a_tickets_socket_comes_back_with_its_cookie(stack: Stack, base: str, user: str) -> None:
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user, topics=[f"{user}.t"])["ticket"]
    with WebSocket(f"{base}/ws?ticket={ticket}") as ws:
        assert ws.status == 101
        event = stack.publish(topic=f"{user}.t", data="1")
        ws.wait_ids(event)
        assert all("~" not in each["id"] for each in ws.messages)
        cookie = ws.headers["set-cookie"].partition(";")[0]
    with WebSocket(f"{base}/ws?ticket={ticket}&last_event_id={event}", {"Cookie": cookie}) as ws:
        more = stack.publish(topic=f"{user}.t", data="2")
        ws.wait_ids(more)
        assert ws.ids == [more]
    again = WebSocket(f"{base}/ws?ticket={ticket}&last_event_id={more}")
    assert again.status == 401


def problem_of(ws: WebSocket) -> dict[str, object]:
    assert ws.headers["content-type"] == "application/problem+json"
    found: dict[str, object] = json.loads(ws.body)
    assert found["status"] == ws.status
    return found


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Upgrade": ""}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": ""}, 401),
        (NOT_OURS, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_handshake_that_is_refused(stack: Stack, base: str, user: str, changed: dict[str, str], status: int) -> None:
    ws = WebSocket(f"{base}/ws", stack.bearer(user) | changed)
    assert ws.status == status
    problem_of(ws)
    if status == 426:
        assert ws.headers["upgrade"] == "websocket"
        assert ws.headers["sec-websocket-version"] == "13"


def test_a_handshake_without_connection_upgrade(stack: Stack, server: str, user: str) -> None:
    ws = WebSocket(f"{server}/ws", stack.bearer(user) | {"Connection": "keep-alive"})
    assert ws.status == 426


def test_other_methods(stack: Stack, base: str, user: str) -> None:
    answer = httpx.post(f"{base}/ws", headers=HANDSHAKE | stack.bearer(user), trust_env=False)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert httpx.get(f"{base}/ws", headers=stack.bearer(user), trust_env=False).status_code == 426


@pytest.mark.parametrize(("query", "status"), [("?topics=secret", 403), ("?topic=x", 400), ("?since=x", 400)])
def test_parameters_are_checked_as_those_of_events(stack: Stack, base: str, user: str, query: str, status: int) -> None:
    ws = open_ws(stack, user, query, base)
    assert ws.status == status
    problem_of(ws)


def test_a_page_of_another_site_is_refused_whatever_it_brings(stack: Stack, base: str, user: str) -> None:
    cookie = {"Cookie": f"pushsvc_token={stack.token(user)}"}
    assert WebSocket(f"{base}/ws", cookie | NOT_OURS).status == 403
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user)["ticket"]
    assert WebSocket(f"{base}/ws?ticket={ticket}", NOT_OURS).status == 403
    with WebSocket(f"{base}/ws", cookie | {"Origin": base}) as ws:
        assert ws.status == 101
    with WebSocket(f"{base}/ws?ticket={ticket}", {"Origin": base}) as ws:
        assert ws.status == 101


def test_an_allowed_origin_may(shared: Start, user: str) -> None:
    stack = shared(workers=1, allowed_origins="https://app.example.com")
    cookie = {"Cookie": f"pushsvc_token={stack.token(user)}"}
    for base in (stack.url, stack.app_url):
        with WebSocket(f"{base}/ws", cookie | {"Origin": "https://app.example.com"}) as ws:
            assert ws.status == 101
            ws.wait_ids(stack.publish(user=user, data="x"))
        assert WebSocket(f"{base}/ws", cookie | NOT_OURS).status == 403


def test_a_key_of_its_own_is_answered(stack: Stack, base: str, user: str) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    with WebSocket(f"{base}/ws", stack.bearer(user) | {"Sec-WebSocket-Key": key}) as ws:
        assert ws.status == 101
        assert ws.headers["sec-websocket-accept"] != ACCEPTED


def test_frames_that_come_before_the_answer_are_refused(stack: Stack, user: str) -> None:
    assert WebSocket(f"{stack.app_url}/ws", stack.bearer(user), early=frame(9, b"early")).status == 400
