"""The log: lines as JSON, one for a request, and those by which an event is followed to who hears it. What opens
something, and data, is in none of them: each stack of the tests looks for that when it stops."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients.eventsource import EventSource, until
from tests.support.clients.websocket import WebSocket
from tests.support.clients.wire import wire
from tests.support.stack import Stack
from tests.support.tokens import new_ticket

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module", params=["", "--access-logfile /dev/null"], ids=["short way", "flask"])
def logged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"log_format": "json", "log_requests": "on", "log_events": "on", "workers": 1}
    running = Stack(tmp_path_factory.mktemp("logs"), gunicorn=request.param, **settings)
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def lines(stack: Stack, **members: Any) -> list[dict[str, Any]]:
    """The lines with these members. All lines after the first of a worker are JSON, but those of `up` itself."""
    found = [json.loads(line) for line in stack.output.splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in found if members.items() <= line.items()]


def line(stack: Stack, **members: Any) -> dict[str, Any]:
    """The one line with these members."""
    until(lambda: lines(stack, **members), f"a line with {members}")
    (found,) = lines(stack, **members)
    return found


def test_an_event_is_followed_from_its_publisher_to_who_hears_it(logged: Stack) -> None:
    publisher = logged.bearer(publish=["*"]) | {
        "X-Request-Id": "order-7",
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    }
    with logged.listen("ada", headers={"X-Request-Id": "page-of-ada"}) as heard:
        logged.secrets.add("a-word-of-its-data")
        sent = logged.post("/publish", {"user": "ada", "data": "a-word-of-its-data"}, publisher)
        assert sent.headers["x-request-id"] == "order-7"
        heard.wait_ids(sent.json()["id"])
        published = line(logged, event="published", event_id=sent.json()["id"])
        delivered = line(logged, event="delivered", event_id=sent.json()["id"])
    assert (published["request_id"], published["trace_id"], published["channel"]) == ("order-7", TRACE, "user:ada")
    assert (delivered["requests"], delivered["connections"]) == (["page-of-ada"], 1)
    assert delivered.get("request_id", "page-of-ada") == "page-of-ada", "it is not the publisher's greenlet that sends"
    request = line(logged, event="request", request_id="order-7")
    assert (request["method"], request["path"], request["status"]) == ("POST", "/publish", 200)
    assert line(logged, event="stream ended", request_id="page-of-ada")["reason"] == "the client left"
    with logged.listen("ada", "?since=earliest", headers={"X-Request-Id": "page-two"}) as again:
        again.wait_ids(sent.json()["id"])
        assert line(logged, event="delivered", event_id=sent.json()["id"], requests=["page-two"])["late"]


def test_a_message_of_a_websocket_goes_by_the_request_that_opened_it(logged: Stack) -> None:
    opened = logged.bearer("bob", publish=["*"]) | {"X-Request-Id": "socket-of-bob"}
    with WebSocket(f"{logged.app_url}/ws", opened) as socket:
        answer = socket.ask({"type": "publish", "user": "bob", "data": "said"})
        assert line(logged, event="published", event_id=answer["id"])["request_id"] == "socket-of-bob"
    assert line(logged, event="request", request_id="socket-of-bob")["status"] == 101


def test_a_request_line_has_no_query(logged: Stack) -> None:
    ticket = new_ticket(logged, logged.bearer("eve", subscribe=["*"]))["ticket"]
    with EventSource(f"{logged.url}/events?ticket={ticket}", {"X-Request-Id": "by-ticket"}) as heard:
        heard.wait_open()
    assert line(logged, event="request", request_id="by-ticket")["path"] == "/events"
    assert logged.get("/events?ticket=wrong-one", {"X-Request-Id": "refused-1"}).status_code == 401
    assert line(logged, event="request", request_id="refused-1")["status"] == 401
    assert not re.search(r'"path": "[^"]*\?', logged.output)


def test_lines_of_gunicorns_master_are_json_too(logged: Stack) -> None:
    logged.kill("gunicorn", slice(1, 2))
    until(lambda: lines(logged, logger="gunicorn.error", level="error"), "the line about the worker")
    logged.until_ready()


def test_no_line_is_written_about_requests_unless_it_is_asked_for(tmp_path: Path) -> None:
    stack = Stack(tmp_path, workers=1)
    with stack.listen("ada") as heard:
        heard.wait_ids(stack.publish(user="ada", data="x"))
    assert stack.stop(signal.SIGTERM) == 0
    assert not re.search(r"\[info\b|published|delivered|stream began", stack.output), stack.output


def test_a_request_that_cannot_be_read_has_a_line_too(logged: Stack) -> None:
    with wire(logged.app_url) as client:
        client.send(b"GET /\xff\x1b[1m?ticket=a HTTP/1.1\r\nX-Request-Id: unread-1\r\n\r\n")
        answer = client.answer("GET")
    assert answer is not None
    assert (answer.status, answer.fields["x-request-id"]) == (400, "unread-1")
    told = line(logged, event="request", request_id="unread-1")
    assert (told["status"], told["path"]) == (400, "/\xff\\x1b[1m")
