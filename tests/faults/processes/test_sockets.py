"""Clients that behave badly, on real sockets: each hurts only itself, and leaves nothing behind."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from pushsvc.storage.redis.keys import ALONE as keys
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.stack import Stack, connections, descriptors


@contextmanager
def listening(stack: Stack, url: str, user: str, *, version: str = "1.1", more: bytes = b"") -> Iterator[socket.socket]:
    """A stream that has begun, on a plain socket that reads no further."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.settimeout(40)
        client.connect((host, int(port)))
        bearer = stack.bearer(user)["Authorization"]
        head = f"GET /events?since=now HTTP/{version}\r\nHost: x\r\nAuthorization: {bearer}\r\n\r\n"
        client.sendall(head.encode() + more)
        if not more:
            taken = b""
            while b"event: cursor\n" not in taken or not taken.endswith(b"\n\n"):
                piece = client.recv(1)  # not a byte of what follows
                assert piece, taken
                taken += piece
        yield client


def flood(client: socket.socket) -> None:
    """Send more and more on a connection that should send nothing."""
    with suppress(OSError):
        for _ in range(64):
            client.sendall(b"x" * 65536)


def close_half(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def close(client: socket.socket) -> None:
    client.close()


@pytest.mark.every_redis
@pytest.mark.parametrize("leave", [flood, close_half, reset, close])
def test_a_client_that_leaves_is_noticed_though_nothing_is_sent(
    stack: Stack, server: str, user: str, leave: Callable[[socket.socket], None]
) -> None:
    with ExitStack() as others:
        clients = [others.enter_context(listening(stack, server, user)) for _ in range(3)]
        until(lambda: connections(stack, user) == 3, "the count")
        for client in clients:
            leave(client)
        until(lambda: connections(stack, user) == 0, "their places to be free")
        sources = [others.enter_context(stack.listen(user, base=server)) for _ in range(5)]
        assert [source.statuses for source in sources] == [[200]] * 5, "as many as one user may have"
        event = stack.publish(user=user)
        for source in sources:
            source.wait_ids(event)


def test_clients_that_leave_take_their_descriptors_along(single: Stack, user: str) -> None:
    stack = single

    def crowd(leave: Callable[[socket.socket], None]) -> None:
        with ExitStack() as clients:
            opened = [clients.enter_context(listening(stack, stack.app_url, user)) for _ in range(20)]
            for client in opened:
                leave(client)
            until(lambda: connections(stack, user) == 0, "them to be gone")

    crowd(close)  # what the worker opens once, it has opened then
    before = descriptors(stack)
    for leave in (flood, close_half, reset, close):
        crowd(leave)
        until(lambda: descriptors(stack) <= before, "the descriptors to be closed")


@pytest.mark.every_redis
def test_one_who_reads_a_byte_now_and_then_gets_everything(stack: Stack, server: str, user: str) -> None:
    count = 60
    with listening(stack, server, user) as client, stack.listen(user, "?since=now", base=server) as quick:
        taken, ids = bytearray(), []
        for number in range(count):
            ids.append(stack.publish(user=user, data=f"{number} " + "x" * 2000))
            taken += client.recv(1)
        quick.wait_ids(*ids)
        assert quick.ids == ids, "nobody else waits for it"
        last = f"id: {ids[-1]}\n".encode()
        while not (taken.endswith(b"x" * 2000) and last in taken):
            piece = client.recv(1)
            assert piece, "it was slow, not stuck"
            taken += piece
        assert re.findall(rb"id: (\S+)\n", taken) == [event_id.encode() for event_id in ids]


def test_one_who_never_reads_is_cut_when_more_waits_than_may(single: Stack, user: str) -> None:
    stack = single
    with listening(stack, stack.app_url, user), stack.listen(user, base=stack.app_url) as quick:
        ids: list[str] = []

        def cut() -> bool:
            """The amount that the kernel takes first is its own affair."""
            ids.extend(stack.publish_many([{"user": user, "data": "x" * 20_000} for _ in range(20)]))
            quick.wait_ids(ids[-1])
            return connections(stack, user) == 1

        until(cut, "it to be cut", 60)
        assert quick.ids == ids


def test_a_proxy_is_told_that_a_stream_takes_its_connection_along(stack: Stack, user: str) -> None:
    """It would send another's request on it, which nobody can repeat if that is a POST."""
    with stack.listen(user, base=stack.app_url) as source:
        assert source.headers["connection"] == "close"
    assert httpx.get(f"{stack.app_url}/healthz", trust_env=False).headers["connection"] == "keep-alive"


def test_an_old_client_gets_no_chunks(stack: Stack, server: str, user: str) -> None:
    """HTTP/1.0 has none (RFC 9112 section 7): a proxy that speaks it would hand their sizes on as content."""
    with listening(stack, server, user, version="1.0") as client:
        first = stack.publish(user=user, data="one")
        expected = f"id: {first}\ndata: one\n\n".encode()
        taken = b""
        while len(taken) < len(expected):
            taken += client.recv(1)
        assert expected.startswith(taken.replace(b":\n\n", b"")), "but for heartbeats"
        ids = stack.publish_many([{"user": user, "data": "two"}, {"user": user, "data": "three"}])
        while f"id: {ids[-1]}\ndata: three\n\n".encode() not in taken:
            taken += client.recv(4096)
        assert not re.search(rb"^[0-9a-f]+\r\n", taken, re.MULTILINE)


def test_events_that_come_together_leave_together(stack: Stack, user: str) -> None:
    with listening(stack, stack.app_url, user) as client:
        ids = stack.publish_many([{"user": user, "data": str(number)} for number in range(10)])
        taken = b""
        while f"id: {ids[-1]}\n".encode() not in taken or not taken.endswith(b"\n\r\n"):
            taken += client.recv(65536)
        chunks = [size for size in re.findall(rb"(?:^|\r\n)([0-9a-f]+)\r\n", taken) if size != b"3"]  # heartbeats
        assert len(chunks) < 5, "ten sends would cost as much again"
        assert re.findall(rb"id: (\S+)\n", taken) == [event_id.encode() for event_id in ids]


def test_few_descriptors_are_said_and_never_run_out(start: Start, user: str) -> None:
    stack = start(workers=1, files=260, max_connections_per_user=1000)
    assert "PUSHSVC_MAX_CONNECTIONS is 20000, but this process may open 260 files" in stack.output
    with ExitStack() as clients:
        opened = [clients.enter_context(listening(stack, stack.app_url, user)) for _ in range(60)]
        refused = stack.listen(user, base=stack.app_url)
        assert refused.refusals[0]["status"] == 503
        event = stack.publish(user=user)
        for client in opened:
            taken = b""
            while event.encode() not in taken:
                taken += client.recv(4096)
    until(lambda: connections(stack, user) == 0, "them to be gone")
    with stack.listen(user, base=stack.app_url) as source:
        assert source.statuses == [200]
    assert "Traceback" not in stack.output


def calls(stack: Stack, command: str) -> int:
    stats = stack.redis.info("commandstats")
    entry = stats.get(f"cmdstat_{command}", {"calls": 0})
    count: int = entry["calls"]
    return count


def test_a_crowd_that_comes_back_reads_each_channel_once(start: Start, user: str) -> None:
    crowd = 150
    stack = start(workers=1, max_connections_per_user=1000)
    first = stack.publish(topic="news", data="had")
    missed = stack.publish_many([{"topic": "news", "data": str(number)} for number in range(10)])
    host, port = str(stack.settings["app"]).split(":")
    before = calls(stack, "xrange"), calls(stack, "subscribe")
    with ExitStack() as clients:
        opened = []
        for number in range(crowd):
            client = clients.enter_context(socket.socket())
            client.settimeout(40)
            client.connect((host, int(port)))
            bearer = stack.bearer(f"{user}.{number}", subscribe=["*"])["Authorization"]
            head = (
                f"GET /events?topics=news HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nLast-Event-ID: {first}\r\n"
            )
            client.sendall(f"{head}\r\n".encode())
            opened.append(client)
        for client in opened:
            taken = b""
            while missed[-1].encode() not in taken:
                piece = client.recv(65536)
                assert piece, taken
                taken += piece
            cursor, *heard = re.findall(rb"id: (\S+)\n", taken)
            assert cursor == first.encode()
            assert heard == [event_id.encode() for event_id in missed]
        reads, subscribes = calls(stack, "xrange") - before[0], calls(stack, "subscribe") - before[1]
        assert reads < crowd * 1.5, "each one's own channel, and few for the two that all share"
        assert subscribes < crowd / 2
        assert stack.redis.exists(keys.connections(f"{user}.0"))
