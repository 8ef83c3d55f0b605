"""PUSHSVC_PROXY_PROTOCOL: the client's address comes in a header that a trusted proxy puts before the bytes."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest

from tests.support.clients.eventsource import EventSource, until
from tests.support.others.proxies import Relay
from tests.support.stack import ROOT, Stack, command, read_to_the_end

MOST = 1000  # connections of one address (nginx/locations.conf)
STRANGER = "127.0.0.2"  # an address of this machine that is not trusted
LOG = "--access-logfile - --access-logformat '%({x-forwarded-for}i)s asked for %(U)s'"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(
        tmp_path_factory.mktemp("proxied"),
        workers=1, max_connections=3000, max_connections_per_user=3000,
        proxy_protocol="on", trusted_proxies="127.0.0.1", gunicorn=LOG,
    )  # fmt: skip
    yield running
    running.stop()


def first(address: str) -> bytes:
    """The header of version 1."""
    return f"PROXY TCP{4 if ip_address(address).version == 4 else 6} {address} {address} 1234 80\r\n".encode()


def second(address: str, command: int = 1) -> bytes:
    """The header of version 2. `command`: 0: the proxy itself calls."""
    packed = ip_address(address).packed
    ports = struct.pack("!HH", 1234, 80)
    family = 0x11 if len(packed) == 4 else 0x21
    length = struct.pack("!H", 2 * len(packed) + 4)
    return SIGNATURE + bytes([0x20 | command, family]) + length + packed + packed + ports


def ask(stack: Stack, header: bytes, head: str = "GET /healthz HTTP/1.1", source: str = "127.0.0.1") -> bytes:
    """All that is answered before the connection is closed."""
    host, port = str(stack.settings["http"]).split(":")
    with socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0)) as client:
        client.sendall(header + f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return read_to_the_end(client)


@pytest.mark.parametrize(
    "header", [first("203.0.113.7"), second("203.0.113.7"), second("2001:db8::7"), b"PROXY UNKNOWN\r\n"]
)
def test_both_versions_are_spoken(stack: Stack, header: bytes) -> None:
    assert ask(stack, header).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"PROXY TCP4 203.0.113.7\r\n",
        b"PROXY TCP5 203.0.113.7 203.0.113.7 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 203.0.113.7 1 2\r" + b"x" * 100,
        b"proxy tcp4 203.0.113.7 203.0.113.7 1 2\r\n",
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),  # version 3
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),  # too short for its addresses
    ],
    ids=["none", "cut", "TCP5", "without an end", "in small letters", "version 3", "without addresses"],
)
def test_other_bytes_are_refused_and_reach_no_worker(stack: Stack, header: bytes) -> None:
    assert ask(stack, header) == b""


def test_a_second_header_is_the_client_s(stack: Stack) -> None:
    assert ask(stack, first("203.0.113.7") + first("203.0.113.8")).startswith(b"HTTP/1.1 400")


def test_the_client_s_address_is_counted_and_logged(stack: Stack) -> None:
    """The client's own words in its request count for nothing."""
    bearer = stack.bearer("many")["Authorization"]
    head = f"GET /events HTTP/1.1\r\nAuthorization: {bearer}\r\nX-Forwarded-For: 203.0.113.9\r\nHost: x\r\n\r\n"
    host, port = str(stack.settings["http"]).split(":")
    with ExitStack() as held:
        clients = [held.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(MOST)]
        for number, client in enumerate(clients):
            client.sendall((first, second)[number % 2]("203.0.113.7") + head.encode())
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 200"
        answer = ask(stack, second("203.0.113.7"), "GET /unread HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9")
        assert answer.startswith(b"HTTP/1.1 429")
        assert ask(stack, second("203.0.113.8"), "GET /unread HTTP/1.1").startswith(b"HTTP/1.1 401")
        assert ask(stack, second("203.0.113.7", command=0), "GET /unread HTTP/1.1").startswith(b"HTTP/1.1 401")
    told = re.compile(r"of 203\.0\.113\.7\b.*\(the address holds 1000 connections")
    until(lambda: told.search(stack.output), "the address in the log")
    assert "203.0.113.9" not in stack.output


def test_only_a_trusted_proxy_is_believed(stack: Stack) -> None:
    for source, asker in ((STRANGER, STRANGER), ("127.0.0.1", "203.0.113.77")):
        assert ask(stack, first("203.0.113.77"), f"GET /by-{source} HTTP/1.1", source).startswith(b"HTTP/1.1 404")
        until(lambda: f"{asker} asked for /by-{source}\n" in stack.output, f"{asker} in the log of the worker")  # noqa: B023


def test_a_real_proxy(stack: Stack, tmp_path: Path, user: str) -> None:
    """nginx that passes bytes on, as balancers of TCP do."""
    relay = Relay(tmp_path / "relay", str(stack.settings["http"]), "proxy_protocol on;")
    try:
        with EventSource(f"{relay.url}/events", stack.bearer(user)).wait_open() as source:
            answer = stack.post("/publish", {"user": user, "data": "-"}, stack.bearer(publish=["*"]), relay.url)
            source.wait_ids(answer.json()["id"])
    finally:
        relay.stop()


def test_over_tls(tmp_path: Path) -> None:
    """The header comes before the handshake. That `up` says that all is up, it says after nginx answered it so."""
    running = Stack(tmp_path, workers=1, proxy_protocol="on", trusted_proxies="127.0.0.1", tls="self-signed")
    relay = Relay(tmp_path / "relay", str(running.settings["http"]), "proxy_protocol on;")
    try:
        trust = ssl.create_default_context(cafile=tmp_path / "tls" / "certificate.pem")
        url = relay.url.replace("http://127.0.0.1", "https://localhost")
        assert httpx.get(f"{url}/readyz", verify=trust, trust_env=False).status_code == 200
    finally:
        relay.stop()
        running.stop()


def test_commands_on_this_machine_call_the_workers(stack: Stack, user: str) -> None:
    with stack.listen(user, base=stack.app_url) as source:
        words, environ = command("publish", "--user", user, "hello", **stack.settings)
        done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        source.wait_for(1)


def test_a_system_nginx_is_told_and_an_older_file_is_named(tmp_path: Path) -> None:
    def written(**settings: str) -> str:
        words, environ = command("nginx", str(tmp_path), **settings)
        done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
        return done.stderr

    on = {"proxy_protocol": "on", "trusted_proxies": "10.0.0.0/8"}
    assert written(**on) == ""
    assert "listen 443 ssl http2 proxy_protocol;" in (tmp_path / "site.conf").read_text()
    assert "has a line `listen` with the word proxy_protocol, while PUSHSVC_PROXY_PROTOCOL is off" in written()
