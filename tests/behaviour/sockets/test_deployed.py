"""WebSockets behind a path, over TLS, in presence, and where no socket is to be had."""

from __future__ import annotations

import random
import ssl

import pytest

from pushsvc.application import create_app
from pushsvc.config import Settings
from tests.behaviour.operating.test_presence import users
from tests.behaviour.sockets.test_events import NOT_OURS, open_ws
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.clients.websocket import HANDSHAKE, WebSocket, frame, text
from tests.support.stack import Stack, connections


def test_under_a_path(shared: Start, user: str) -> None:
    stack = shared(workers=1, public_url="https://push.example.com/push")
    for base in (stack.url, stack.app_url):
        for path in ("/ws", "/push/ws"):
            origin = {"Origin": "https://push.example.com"}
            with WebSocket(f"{base}{path}", stack.bearer(user) | origin) as ws:
                assert ws.status == 101
                ws.wait_ids(stack.publish(user=user, data="x"))
            assert WebSocket(f"{base}{path}", stack.bearer(user) | NOT_OURS).status == 403


def test_over_tls(shared: Start, user: str) -> None:
    stack = shared(workers=1, tls="self-signed")
    trust = ssl.create_default_context(cafile=stack.data_dir / "tls" / "certificate.pem")
    origin = {"Origin": stack.url}
    with WebSocket(f"{stack.url}/ws", stack.bearer(user) | origin, trust=trust) as ws:
        assert ws.status == 101
        assert ws.ask({"type": "ping"})["type"] == "pong"


def test_presence_knows_the_topics_of_now(stack: Stack, user: str) -> None:
    topic = f"{user}.t"
    with open_ws(stack, user, subscribe=["topic:*"]) as ws:
        assert users(stack, user=user) == {user: 1}
        assert users(stack, topic=topic) == {}
        ws.ask({"type": "subscribe", "topics": [topic]})
        assert users(stack, topic=topic) == {user: 1}
        ws.ask({"type": "unsubscribe", "topics": [topic]})
        assert users(stack, topic=topic) == {}
    until(lambda: users(stack, user=user) == {}, "it to have left")


def test_where_no_socket_is_to_be_had() -> None:
    client = create_app(Settings(redis_url="redis://127.0.0.1:1", secret=("x" * 32,))).test_client()
    answer = client.get("/ws", headers=HANDSHAKE)
    assert answer.status_code == 501
    assert answer.content_type == "application/problem+json"


def test_requests_go_on_where_there_is_an_access_log(start: Start, user: str) -> None:
    """Each request goes through the WSGI application then."""
    stack = start(workers=1, gunicorn="--access-logfile -")
    with open_ws(stack, user, base=stack.app_url, publish=["user:*"]) as ws:
        answer = ws.ask({"type": "publish", "user": user, "data": 1})
        ws.wait_ids(answer["id"])
    until(lambda: connections(stack, user) == 0, "it to leave")
    assert stack.stop() == 0
    assert "Traceback" not in stack.output, stack.output


@pytest.mark.parametrize("seed", range(3))
def test_noise(stack: Stack, server: str, user: str, seed: int) -> None:
    """Frames that are changed at random: each connection is answered or closed, and the worker lives."""
    chance = random.Random(seed)
    good = [text({"type": "ping"}), frame(9, b"x"), frame(2, b"{}"), frame(1, b'{"type":', fin=False), frame(0, b"1}")]
    for _ in range(60):
        raw = bytearray(b"".join(chance.choice(good) for _ in range(chance.randrange(1, 6))))
        for _ in range(chance.randrange(4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        with open_ws(stack, user, base=server) as ws:
            ws.socket.sendall(bytes(raw))
            if chance.random() < 0.5:
                ws.socket.shutdown(1)
                ws.wait(lambda ws: ws.over, "the end")
    with open_ws(stack, user, base=server) as ws:
        assert ws.ask({"type": "ping"})["type"] == "pong"
