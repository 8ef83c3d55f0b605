"""Other traffic through each proxy with the recommended lines: WebSockets, long polls, streams of events that are
published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from proxies.conftest import PATH, Pair
from proxies.support.kinds import KINDS, Kind
from proxies.support.running import Proxy, status_of
from tests.behaviour.publishing.test_publish_stream import upload
from tests.support.clients.eventsource import EventSource, until
from tests.support.clients.websocket import WebSocket
from tests.support.stack import connections

_KINDS = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
Before = Callable[[Kind], str]


@pytest.fixture
def before(pair: Pair) -> Iterator[Before]:
    """Start a proxy before the services, and give its URL."""
    with ExitStack() as running:

        def start(kind: Kind) -> str:
            proxy = running.enter_context(Proxy(kind, kind.file, pair.ports))
            until(lambda: status_of(f"{proxy.url}/readyz") == 200, "the proxy to find a service")
            return proxy.url

        yield start


@_KINDS
def test_a_web_socket(kind: Kind, before: Before, pair: Pair, user: str) -> None:
    with WebSocket(f"{before(kind)}/ws", pair.one.bearer(user)) as ws:
        assert ws.status == 101
        ws.wait_ids(pair.one.publish(user=user))
        assert ws.ask({"type": "ping"})["type"] == "pong"


@_KINDS
def test_under_a_path(kind: Kind, before: Before, pair: Pair, user: str) -> None:
    """PUBLIC_URL has a path that these lines do not strip, and the service is found there too; Vite's name paths."""
    path = "" if kind.name == "Vite" else PATH
    with EventSource(f"{before(kind)}{path}/events", pair.one.bearer(user)).wait_open() as source:
        source.wait_ids(pair.one.publish(user=user))


@_KINDS
def test_a_long_poll(kind: Kind, before: Before, pair: Pair, user: str) -> None:
    """It waits, and has its event long before its 25 seconds have passed."""
    params = {"channel": f"user:{user}", "after": pair.one.publish(user=user), "wait": "25"}
    url, headers = before(kind), pair.one.bearer(user)
    with ThreadPoolExecutor(1) as thread:
        polled = thread.submit(httpx.get, f"{url}/history", params=params, headers=headers, timeout=30, trust_env=False)
        until(lambda: connections(pair.one, user) == 1, "it to wait")
        assert not polled.done()
        event_id = pair.one.publish(user=user)
        assert [event["id"] for event in polled.result().json()["events"]] == [event_id]


@_KINDS
def test_a_stream_of_events(kind: Kind, before: Before, pair: Pair, user: str) -> None:
    """Each is heard, and answered, while the body is open; where the proxy is known not to let it, all when it ends."""
    with upload(before(kind), pair.one.bearer(publish=["*"])) as sent, pair.one.listen(user) as source:
        for number in range(3):
            sent.say(user=user, data=str(number))
            if kind.answers_lines:
                source.wait_for(number + 1)
                assert "id" in sent.answer()
        sent.end()
        answers = list(iter(sent.answer, None))
        assert len(answers) == (0 if kind.answers_lines else 3)
        source.wait_for(3)
