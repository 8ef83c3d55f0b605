"""The messages up a WebSocket: calls, each with an answer; with nginx and without."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pushsvc.events.event import EventId
from tests.behaviour.sockets.test_events import mine, open_ws, say
from tests.conftest import Start
from tests.support.clients.websocket import WebSocket, frame, text
from tests.support.models.answers import begin
from tests.support.models.model import Model, silent
from tests.support.stack import Stack
from tests.support.tokens import new_ticket


def test_ping_by_text_and_by_bytes(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base) as ws:
        assert ws.ask({"type": "ping"})["type"] == "pong"
        ws.socket.sendall(frame(2, json.dumps({"type": "ping", "ref": 7}).encode()))
        ws.wait(lambda ws: {"type": "pong", "ref": 7} in ws.messages, "the answer to 7")
        ws.socket.sendall(text({"type": "ping"}))
        ws.wait(lambda ws: {"type": "pong"} in ws.messages, "an answer without ref")


def test_publish_answers_as_the_call(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base, publish=["user:*"]) as ws:
        first = ws.ask({"type": "publish", "user": user, "event": "order.paid", "data": {"id": 7}, "key": user})
        again = ws.ask({"type": "publish", "user": user, "event": "order.paid", "data": {"id": 7}, "key": user})
        assert (first["type"], first["duplicate"], again["duplicate"]) == ("ok", False, True)
        assert again["id"] == first["id"]
        ws.wait_ids(first["id"])
        assert mine(user, ws) == [
            {"id": first["id"], "channel": f"user:{user}", "event": "order.paid", "data": '{"id":7}'}
        ]
        many = ws.ask({"type": "publish", "users": [user, f"{user}.b"], "data": 1})
        assert [each["user"] for each in many["results"]] == [user, f"{user}.b"]


@pytest.mark.parametrize(
    ("message", "status", "names"),
    [
        ({"type": "publish", "all": True, "data": 1}, 403, None),
        ({"type": "publish", "user": "x"}, 400, "data"),
        ({"type": "publish", "user": "x", "data": 1, "event": "gap"}, 400, "event"),
        ({"type": "publish", "user": "x", "data": "y" * 70_000}, 413, "data"),
        ({"type": "subscribe", "topics": ["secret"]}, 403, None),
        ({"type": "subscribe", "topics": "open"}, 400, "topics"),
        ({"type": "subscribe"}, 400, "topics"),
        ({"type": "subscribe", "topics": [], "since": "now"}, 400, "since"),
        ({"type": "subscribe", "topics": [f"open.{number}" for number in range(101)]}, 400, "topics"),
        ({"type": "unsubscribe", "topics": [7]}, 400, "topics"),
        ({"type": "ack", "id": "x"}, 400, "id"),
        ({"type": "ack", "id": "99999999999999-0"}, 400, "id"),
        ({"type": "ack"}, 400, "id"),
        ({"type": "cancel", "id": "nothing"}, 404, None),
        ({"type": "cancel", "id": 7}, 400, "id"),
        ({"type": "nothing"}, 400, "type"),
        ({"type": "cancel", "id": "\ud800"}, 400, "id"),
        ({"type": "ack", "id": "\ud800"}, 400, "id"),
        ({"type": "subscribe", "topics": ["\ud800"]}, 400, "topics"),
        ({"type": "publish", "user": "x", "data": "\ud800"}, 400, "data"),
        ({"type": "ping", "\ud800": 1}, 400, "\\ud800"),
        ({"type": ["ping"]}, 400, "type"),
        ({}, 400, "type"),
    ],
)
def test_what_is_refused_is_told_with_its_ref(
    stack: Stack, server: str, user: str, message: dict[str, Any], status: int, names: str | None
) -> None:
    with open_ws(stack, user, base=server, publish=["user:*"], subscribe=["topic:open*"]) as ws:
        answer = ws.ask(message)
        assert (answer["type"], answer["status"]) == ("error", status)
        assert answer["title"]
        assert answer["detail"]
        assert list(answer.get("errors", {})) == ([names] if names else [])
        assert ws.ask({"type": "ping"})["type"] == "pong"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"7", b'"ping"', b"null", b'{"type":"ping","type":"ping"}', b'{"type":"ping","ref":[]}',
            b'{"type":"ping","ref":1e400}', b'{"type":"ping","ref":"\\ud800"}', b"[" * 5000]
)  # fmt: skip
def test_garbage_is_told_and_harms_nothing(stack: Stack, server: str, user: str, raw: bytes) -> None:
    with open_ws(stack, user, base=server) as ws:
        ws.socket.sendall(text(raw))
        ws.wait(lambda ws: ws.of_type("error"), "an error")
        assert ws.of_type("error")[0]["status"] in (400, 413)
        assert "ref" not in ws.of_type("error")[0]
        assert ws.ask({"type": "ping"})["type"] == "pong"


def test_nothing_but_garbage_is_cut(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base) as ws:
        for _ in range(19):
            ws.socket.sendall(text(b"garbage"))
        assert ws.ask({"type": "ping"})["type"] == "pong"
        ws.socket.sendall(text(b"garbage") * 100)
        assert "messages in a row" in ws.wait_closed(1008)


def test_topics_come_and_go(stack: Stack, base: str, user: str) -> None:
    topic = f"{user}.t"
    with open_ws(stack, user, base=base, subscribe=["topic:*"]) as ws:
        stack.publish(topic=topic, data="before")
        ws.wait_ids(*say(stack, user, 1))
        assert ws.ask({"type": "subscribe", "topics": [topic]})["topics"] == [topic]
        second = stack.publish(topic=topic, data="while")
        ws.wait_ids(second)
        assert [each["data"] for each in ws.events if each["channel"] == f"topic:{topic}"] == ["while"]
        assert ws.ask({"type": "unsubscribe", "topics": [topic, "unknown"]})["topics"] == []
        stack.publish(topic=topic, data="after")
        ws.wait_ids(*say(stack, user, 2))
        assert [each["data"] for each in ws.events if each["channel"] == f"topic:{topic}"] == ["while"]
        assert ws.of_type("gap") == []


def test_a_topic_that_comes_while_events_flow_misses_and_repeats_nothing(stack: Stack, base: str, user: str) -> None:
    topic = f"{user}.t"
    with open_ws(stack, user, base=base, subscribe=["topic:*"]) as ws:
        wanted: list[str] = []
        for number in range(30):
            ids = stack.publish_many([{"user": user, "data": number}, {"topic": topic, "data": number}] * 5)
            wanted += ids[::2] if number < 10 else ids
            if number == 9:
                wanted += say(stack, user, number)  # the topic begins after what was heard last
                ws.wait_ids(wanted[-1])
                ws.ask({"type": "subscribe", "topics": [topic]})
        ws.wait_ids(*wanted)
        theirs = [each["id"] for each in mine(user, ws)]
        assert theirs == sorted(theirs, key=lambda each: EventId.parse(str(each)))
        assert theirs == wanted


def test_ack_moves_the_position(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, "?ack=manual", base) as ws:
        ids = say(stack, user, 1, 2, 3)
        ws.wait_ids(*ids)
        assert ws.ask({"type": "ack", "id": ids[1]})["type"] == "ok"
    assert stack.get("/unread", stack.bearer(user)).json()["id"] == ids[1]
    with open_ws(stack, user, base=base) as ws:
        ws.wait_ids(ids[2])
        assert ids[1] not in ws.ids


def test_a_tickets_socket_has_its_topics_and_may_publish_nothing(stack: Stack, base: str, user: str) -> None:
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user, topics=["a", "b"])["ticket"]
    with WebSocket(f"{base}/ws?ticket={ticket}&topics=a") as ws:
        assert ws.ask({"type": "subscribe", "topics": ["b"]})["topics"] == ["a", "b"]
        assert ws.ask({"type": "subscribe", "topics": ["c"]})["status"] == 403
        assert ws.ask({"type": "publish", "user": user, "data": 1})["status"] == 403


def test_an_answer_is_interrupted(answering: Stack, door: str, model: Model, user: str) -> None:
    model.script = silent
    started = begin(answering, user)
    with open_ws(answering, user, base=door) as ws:
        answer = ws.ask({"type": "cancel", "id": started["id"]})
        assert (answer["type"], answer["id"], answer["state"]) == ("ok", started["id"], "cancelled")
        assert ws.ask({"type": "cancel", "id": started["id"]})["state"] == "cancelled"
    with open_ws(answering, f"{user}.other", base=door) as ws:
        assert ws.ask({"type": "cancel", "id": started["id"]})["status"] == 404


def test_a_rate_is_told_with_when_to_come_back(shared: Start, user: str) -> None:
    stack = shared(workers=1, rate_publish="3 per hour")
    with open_ws(stack, user, publish=["*"]) as ws:
        answers = [ws.ask({"type": "publish", "user": user, "data": number}) for number in range(4)]
        assert [each["type"] for each in answers] == ["ok", "ok", "ok", "error"]
        assert answers[3]["status"] == 429
        assert answers[3]["retry_after"] > 1


def test_calls_sent_without_waiting_are_answered_in_order(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base, publish=["user:*"]) as ws:
        calls = [text({"type": "publish", "ref": number, "user": user, "data": number}) for number in range(300)]
        ws.socket.sendall(b"".join(calls))
        ws.wait(lambda ws: len(ws.of_type("ok")) == 300, "300 answers")
        assert [each["ref"] for each in ws.of_type("ok")] == list(range(300))
        ws.wait(lambda ws: len(mine(user, ws)) == 300, "300 events")
        assert [each["data"] for each in mine(user, ws)] == [str(number) for number in range(300)]
