"""The ends of WebSockets, with which code, and what stays behind: nothing."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack

from wsproto.frame_protocol import Opcode

from tests.behaviour.access.test_cut_off import cut
from tests.behaviour.sockets.test_events import open_ws, say
from tests.conftest import Start
from tests.support.clients.eventsource import gave_way, until
from tests.support.clients.websocket import HANDSHAKE, WebSocket, frame, text
from tests.support.stack import Stack, connections, descriptors
from tests.support.tokens import LEEWAY, bearer


def test_an_admin_cuts_it(stack: Stack, base: str, user: str) -> None:
    with open_ws(stack, user, base=base) as ws:
        ws.wait(lambda ws: ws.messages, "the first message")
        assert cut(stack, user).json()["connections"] == 1
        assert ws.wait_closed(1008) == "An admin has ended the connections of this user."


def test_it_ends_with_its_token(stack: Stack, base: str, user: str) -> None:
    token = stack.token(user, ttl=3 - LEEWAY)
    with WebSocket(f"{base}/ws", bearer(token)) as ws:
        assert ws.wait_closed(1008) == "The token has expired."


def test_the_oldest_at_the_cap_comes_back_later(stack: Stack, base: str, user: str) -> None:
    """WebSockets and streams count together."""
    with ExitStack() as opened:
        first = opened.enter_context(open_ws(stack, user, base=base))
        first.wait(lambda ws: ws.messages, "the first message")
        second = opened.enter_context(stack.listen(user, base=base))
        second.wait_open()
        rest = [opened.enter_context(open_ws(stack, user, base=base)) for _ in range(4)]
        for each in rest:
            each.wait(lambda ws: ws.messages, "the first message")
        assert "newer" in first.wait_closed(1013)
        with open_ws(stack, user, base=base) as last:
            gave_way(second)
            event = stack.publish(user=user, data="x")
            for each in (*rest, last):
                each.wait_ids(event)


def test_a_worker_that_is_full_says_so_by_a_close_code(shared: Start, user: str) -> None:
    stack = shared(workers=1, max_connections=2)
    with open_ws(stack, user), open_ws(stack, f"{user}.b"), open_ws(stack, f"{user}.c") as third:
        assert third.status == 101
        assert "full" in third.wait_closed(1013)


def test_a_rate_says_so_by_a_close_code(shared: Start, user: str) -> None:
    stack = shared(workers=1, rate_connect="2 per hour")
    for _ in range(2):
        open_ws(stack, user).close()
    with open_ws(stack, user) as third:
        assert "RATE_CONNECT" in third.wait_closed(1013)


def test_a_worker_that_stops_lets_them_go_and_loses_nothing(start: Start, user: str) -> None:
    stack = start(drain_seconds=1)
    with open_ws(stack, user) as ws:
        first = say(stack, user, 1)
        ws.wait_ids(*first)
        os.kill(stack.pids()["gunicorn"][0], signal.SIGHUP)
        assert "stopping" in ws.wait_closed(1001)
        last = str(ws.ids[-1])
    stack.until_ready()
    missed = say(stack, user, 2)
    with open_ws(stack, user, f"?last_event_id={last}") as again:
        again.wait_ids(*missed)
        assert again.ids == missed
    assert stack.stop() == 0
    assert "Traceback" not in stack.output, stack.output


def test_heartbeats_are_pings_and_who_answers_none_is_served(stack: Stack, server: str, user: str) -> None:
    with open_ws(stack, user, base=server) as ws:
        ws.wait(lambda ws: len([each for each in ws.frames if each.opcode is Opcode.PING]) >= 3, "three pings")
        ws.socket.sendall(frame(Opcode.PONG) * 2 + frame(Opcode.PONG, b"x"))
        ws.wait_ids(stack.publish(user=user, data="x"))


def test_a_client_that_leaves_is_noticed(stack: Stack, server: str, user: str) -> None:
    for say_good_bye in (True, False):
        ws = open_ws(stack, user, base=server)
        until(lambda: connections(stack, user) == 1, "it to count")
        if say_good_bye:
            ws.socket.sendall(frame(Opcode.CLOSE))
            ws.wait_closed(1005)
        ws.close()
        until(lambda: connections(stack, user) == 0, "it to be noticed")


def test_one_that_never_reads_is_cut(single: Stack, user: str) -> None:
    stack = single
    silent = _deaf(stack, user)
    with open_ws(stack, user, base=stack.app_url) as quick:
        ids: list[str] = []

        def gone() -> bool:
            ids.extend(stack.publish_many([{"user": user, "data": "x" * 20_000} for _ in range(20)]))
            quick.wait_ids(ids[-1])
            return connections(stack, user) == 1

        until(gone, "it to be cut", 60)
        assert quick.ids == ids
    silent.close()


def test_one_that_asks_and_never_reads_is_cut(single: Stack, user: str) -> None:
    """The answers that wait for it are bounded. After that its questions are not read any more."""
    stack, silent = single, _deaf(single, user)
    silent.settimeout(0.2)
    until(lambda: connections(stack, user) == 1, "it to count")

    def gone() -> bool:
        try:
            silent.sendall(frame(Opcode.PING, b"x" * 125) * 500)
        except OSError:
            pass
        return connections(stack, user) == 0

    until(gone, "it to be cut", 60)
    silent.close()


def _deaf(stack: Stack, user: str) -> socket.socket:
    """Has a small receive buffer, and reads nothing but the head."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = str(stack.settings["app"]).partition(":")
    client.connect((host, int(port)))
    fields = {"Host": host, **HANDSHAKE, **stack.bearer(user)}
    lines = ["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    client.sendall("\r\n".join(lines).encode())
    assert client.recv(12) == b"HTTP/1.1 101"
    return client


def test_nothing_stays_behind(start: Start, user: str) -> None:
    stack = start(workers=1, max_connections_per_user=100)
    open_ws(stack, user, base=stack.app_url).close()
    until(lambda: connections(stack, user) == 0, "the first to leave")
    before = descriptors(stack)
    sockets = [open_ws(stack, user, base=stack.app_url) for _ in range(50)]
    for number, ws in enumerate(sockets):
        ends = (frame(Opcode.CLOSE), frame(3), text({"type": "ping"}), b"\x81", text(b"x"))
        ws.socket.sendall(ends[number % len(ends)])
        ws.close()
    until(lambda: connections(stack, user) == 0, "all to leave")
    until(lambda: descriptors(stack) <= before, "their descriptors to be closed")
    assert stack.stop() == 0
    assert "Traceback" not in stack.output, stack.output
