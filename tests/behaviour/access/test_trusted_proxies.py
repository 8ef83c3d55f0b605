"""A proxy on another machine: whose word counts, and who is counted."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.conftest import Start
from tests.support.clients.elsewhere import Elsewhere, another_machine
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.stack import Stack

MOST = 1000  # connections of one address (nginx/locations.conf)
USERS = 57


@pytest.fixture(scope="module")
def proxy() -> Iterator[Elsewhere]:
    with another_machine() as machine:
        yield machine


def reachable(start: Start, **settings: object) -> Stack:
    """nginx and gunicorn, listening everywhere."""
    ports = {"http": f"0.0.0.0:{free_port()}", "app": f"0.0.0.0:{free_port()}"}
    return start(workers=1, max_connections=5000, **ports, **settings)


def urls(stack: Stack, proxy: Elsewhere) -> dict[str, str]:
    return {part: f"http://{stack.settings[part]}".replace("0.0.0.0", proxy.here) for part in ("http", "app")}


def ask(proxy: Elsewhere, method: str, url: str, headers: dict[str, str], **body: object) -> httpx.Response:
    return proxy.call(lambda: httpx.request(method, url, headers=headers, trust_env=False, timeout=30, **body))  # type: ignore[arg-type]


def cookie_of(stack: Stack, proxy: Elsewhere, url: str, user: str, **claims: str) -> str:
    """The cookie that a ticket's stream sets for the proxy's client."""
    given = stack.post("/tickets", {"user": user}, stack.bearer(subscribe=["*"]), url.replace(proxy.here, "127.0.0.1"))
    assert given.json()["url"].startswith("/events?ticket=")
    headers = {name.replace("_", "-"): value for name, value in claims.items()} | {"Sec-Fetch-Site": "same-origin"}

    def use() -> str:
        with httpx.stream("GET", url + given.json()["url"], headers=headers, trust_env=False) as answer:
            assert answer.status_code == 200
            return str(answer.headers["set-cookie"])

    return proxy.call(use)


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "a stranger"])
def test_the_scheme_that_a_proxy_names(start: Start, proxy: Elsewhere, user: str, trusted: bool) -> None:
    stack = reachable(start, trusted_proxies=proxy.there if trusted else "203.0.113.0/24")
    for url in urls(stack, proxy).values():
        for claimed in ("https", "https, http"):
            cookie = cookie_of(stack, proxy, url, user, X_Forwarded_Proto=claimed, X_Forwarded_Prefix="/evil")
            assert ("; Secure" in cookie) is trusted
        assert "; Secure" not in cookie_of(stack, proxy, url, user, X_Forwarded_Proto="http,https")
        assert "; Secure" not in cookie_of(stack, proxy, url, user)


def open_streams(proxy: Elsewhere, stack: Stack, count: int, held: ExitStack, address: str = "") -> list[socket.socket]:
    """Streams of many users, as through one proxy, which names an `address` with a number; each has its head."""
    host, port = urls(stack, proxy)["http"].removeprefix("http://").split(":")
    bearers = [stack.bearer(f"u{number}")["Authorization"] for number in range(USERS)]

    def connect() -> list[socket.socket]:
        found = []
        for number in range(count):
            client = held.enter_context(socket.create_connection((host, int(port)), timeout=30))
            claim = f"X-Forwarded-For: {address}{number % 200}\r\n" if address else ""
            client.sendall(
                f"GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n{claim}"
                f"Authorization: {bearers[number % USERS]}\r\n\r\n".encode()
            )
            found.append(client)
        return found

    clients = proxy.call(connect)
    for client in clients:
        assert client.recv(12) == b"HTTP/1.1 200"
    return clients


def test_an_address_that_holds_too_many_connections_is_refused_for_now(start: Start, proxy: Elsewhere) -> None:
    stack = reachable(start)
    url = urls(stack, proxy)["http"]
    bearer = stack.bearer("somebody")
    with ExitStack() as held:
        open_streams(proxy, stack, MOST, held)
        with proxy.call(
            lambda: socket.create_connection((proxy.here, int(url.rpartition(":")[2])), timeout=30)
        ) as client:
            client.sendall(b"GET /events?ticket=secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
            client.sendall(b"Accept: text/event-stream\r\n\r\n")
            told = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        head, _, block = told.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 OK")
        assert "text/event-stream; charset=utf-8" in head
        retry, event, data = block.strip().split("\n")
        assert (retry[:7], event) == ("retry: ", "event: refused")
        assert json.loads(data.removeprefix("data: "))["status"] == 429
        refused = ask(proxy, "GET", f"{url}/unread", bearer)
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert refused.headers["retry-after"] == "5"
        of_openai = ask(proxy, "POST", f"{url}/v1/chat/completions", bearer | {"Accept": "text/event-stream"}, json={})
        assert (of_openai.status_code, of_openai.json()["error"]["code"]) == (429, "too_many_connections")
        for path in ("/healthz", "/readyz"):
            assert ask(proxy, "GET", url + path, {}).status_code == 200
        assert stack.get("/unread", bearer).status_code == 200, "others, such as this machine, are served"
        until(lambda: "PUSHSVC_TRUSTED_PROXIES" in stack.output, "the log to name the setting")
        assert "secret" not in stack.output


@pytest.mark.parametrize("address", ["", "203.0.113."], ids=["says nothing", "names its clients"])
def test_a_trusted_proxy_is_not_counted_but_its_clients_are(start: Start, proxy: Elsewhere, address: str) -> None:
    stack = reachable(start, trusted_proxies=f"10.0.0.0/8,{proxy.there}")
    with ExitStack() as held:
        open_streams(proxy, stack, MOST + 10, held, address)
        bearer = stack.bearer("somebody")
        assert ask(proxy, "GET", f"{urls(stack, proxy)['http']}/unread", bearer).status_code == 200
