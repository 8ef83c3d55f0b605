"""A ticket's stream in a real browser: on another site, where no cookie comes back, and when its answer is lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page

from tests.conftest import Start
from tests.support.ports import free_port
from tests.support.redis.servers import Relay
from tests.support.stack import Stack
from tests.support.tokens import new_ticket

LISTEN = """url => {
  window.heard = [];
  window.source = new EventSource(url);
  source.onmessage = event => heard.push(event.data);
}"""


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a page</title>")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def other_site() -> Iterator[str]:
    """The address of a site that is not the service's: for a browser, a name and an address have nothing in common."""
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), _Empty)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


class Loses(Relay):
    """A network that loses the first answer of a stream: its connection ends instead."""

    lost = 0
    _awaited = False

    def _pump(self, source: socket.socket, target: socket.socket) -> None:  # type: ignore[override]
        with suppress(OSError):
            while data := source.recv(65536):
                if data.startswith(b"HTTP/1.1 200") and self._awaited:
                    self._awaited = False
                    self.lost += 1
                    break
                self._awaited = self._awaited or (data.startswith(b"GET /events") and not self.lost)
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def port(stack: Stack) -> int:
    return int(stack.url.rpartition(":")[2])


def test_on_another_site_it_comes_back(start: Start, page: Page, other_site: str, user: str) -> None:
    stack = start(workers=2, allowed_origins=other_site)
    relay = Relay(port(stack))
    page.goto(other_site)
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user)
    page.evaluate(LISTEN, f"http://127.0.0.1:{relay.port}{ticket['url']}&since=now")
    page.wait_for_function("source.readyState == 1")
    published = []
    for number in range(3):
        relay.move(port(stack))
        published.append(str(number))
        stack.publish(user=user, data=published[-1])
        page.wait_for_function("count => heard.length == count", arg=len(published))
    assert page.evaluate("heard") == published
    assert page.context.cookies(f"http://127.0.0.1:{relay.port}") == [], "none was taken"
    relay.close()


def test_a_lost_first_answer_is_asked_for_again(stack: Stack, page: Page, user: str) -> None:
    relay = Loses(port(stack))
    page.goto(f"http://127.0.0.1:{relay.port}/healthz")
    stack.publish(user=user, data="missed")
    for _ in range(5):
        relay.lost = 0
        ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user)
        # On a connection that served a request before: Chromium repeats by itself what is lost on such a one alone, and
        # opens others as it likes.
        page.evaluate("fetch('/healthz').then(answer => answer.text())")
        page.evaluate(LISTEN, ticket["url"])
        page.wait_for_function("heard.includes('missed') || source.readyState == EventSource.CLOSED")
        if page.evaluate("heard.includes('missed')"):
            break
    stack.publish(user=user, data="live")
    page.wait_for_function("heard.includes('live')")
    heard = [data for data in page.evaluate("heard") if data in ("missed", "live")]  # others publish to all
    assert (relay.lost, heard) == (1, ["missed", "live"])
    relay.close()
