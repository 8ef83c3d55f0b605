"""The browser client (npm/push.js) in Chromium, on one page."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

from tests.browser.client.pushpage import CLASSIC, MODULE, Tab, hears, order, unread
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.stack import ROOT, Stack, connections

COOKIE = "begin({ connect: options => connect({ ...options, ticket: () => '/events' }) })"


def test_it_is_small() -> None:
    assert len(gzip.compress((ROOT / "npm/push.js").read_bytes(), 9)) < 4096


@pytest.mark.parametrize("script", [MODULE, CLASSIC])
def test_it_hears_and_acknowledges(stack: Stack, tab: Tab, user: str, script: str) -> None:
    made = tab(stack, script)
    order(stack, user, 1, 2)
    hears(made, 1, 2)
    until(lambda: unread(stack, user) == 0, "the acknowledgement")
    made.evaluate("push.close()")
    until(lambda: connections(stack, user) == 0, "the end of the stream")
    assert made.evaluate("states").count("open") == 1
    assert made.evaluate("push.state") == "closed"


def test_an_acknowledgement_that_fails_is_not_tried_again_once_it_is_closed(stack: Stack, tab: Tab, user: str) -> None:
    made = tab(stack)
    made.evaluate("() => { window.tries = 0; window.fetch = async () => { tries++; throw TypeError('Away.'); }; }")
    order(stack, user, 1)
    hears(made, 1)
    timers = made.evaluate("""async () => {
        const timers = [], start = setTimeout;
        window.setTimeout = (...words) => { timers.push(words[1]); return start(...words); };
        push.close();
        await new Promise(done => start(done));
        return timers;
    }""")
    assert made.evaluate("tries") > 0
    assert timers == []


def test_what_no_listener_heard_stays_unread(stack: Stack, tab: Tab, user: str) -> None:
    made = tab(stack)
    stack.publish(user=user, event="other", data="x")
    order(stack, user, 1)
    hears(made, 1)
    until(lambda: unread(stack, user) == 0, "the acknowledgement of what came later")
    made.evaluate("push.on('order', () => { throw new Error() })")


def test_a_page_that_is_loaded_again_goes_on(stack: Stack, tab: Tab, user: str) -> None:
    made = tab(stack)
    order(stack, user, 1)
    hears(made, 1)
    made.goto("about:blank")
    order(stack, user, 2, 3)
    made.go_back()
    hears(made, *([1, 2, 3] if made.evaluate("heard.includes(1)") else [2, 3]))
    made.reload()
    made.wait_for_function("push.state == 'open'")
    order(stack, user, 4)
    hears(made, 4)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/tickets", {"status": 500, "content_type": "text/html", "body": "<h1>500</h1>"}),
        ("/tickets", {"status": 429, "content_type": "application/problem+json", "body": '{"detail": "Too many."}'}),
        ("/events?*", {"status": 502, "content_type": "text/html", "body": "<h1>502</h1>"}),
        ("/events?*", {"status": 401, "body": "{}"}),
        ("/events?*", {"content_type": "text/event-stream", "body": 'event: refused\ndata: {"status": 401}\n\n'}),
        ("/events?*", {"content_type": "text/event-stream", "body": "event: refused\ndata: no JSON\n\n"}),
    ],
)
def test_it_comes_back(stack: Stack, tab: Tab, page: Page, user: str, path: str, answer: dict[str, Any]) -> None:
    page.context.route(f"**{path}", lambda route: route.fulfill(**answer), times=1)
    made = tab(stack)
    order(stack, user, 1)
    hears(made, 1)
    assert "waiting" in made.evaluate("states")


def test_no_ticket_is_the_end(stack: Stack, tab: Tab, page: Page) -> None:
    page.context.route("**/tickets", lambda route: route.fulfill(content_type="application/json", body="null"))
    made = tab(stack, wait=False)
    made.wait_for_function("push.state == 'closed'")
    assert made.evaluate("sources.length") == 0


def test_a_page_that_read_its_own_state_begins_at_the_tickets_cursor(stack: Stack, tab: Tab, user: str) -> None:
    order(stack, user, 1)
    made = tab(stack, since="ticket")
    order(stack, user, 2)
    hears(made, 2)


def test_a_cookie_is_enough_where_the_service_is_the_pages_own_origin(
    stack: Stack, tab: Tab, page: Page, user: str
) -> None:
    page.context.add_cookies([{"name": "pushsvc_token", "value": stack.token(user), "url": stack.url}])
    order(stack, user, 1)
    made = tab(stack, MODULE.replace("begin({ connect })", COOKIE))
    order(stack, user, 2)
    hears(made, 1, 2)
    until(lambda: unread(stack, user) == 0, "the acknowledgement")


@pytest.fixture
def site() -> Iterator[str]:
    """Another site than the service's, for a browser."""
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_site(start: Start, tab: Tab, site: str, user: str) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    stack = start(http=f"127.0.0.1:{port}", public_url=url, allowed_origins=site, workers=1)
    script = f'<script type="module">import {{ connect }} from "{url}/push.js"; begin({{ connect }});</script>'
    made = tab(stack, script, base=site)
    order(stack, user, 1)
    hears(made, 1)
    until(lambda: unread(stack, user) == 0, "the acknowledgement")
    stack.kill("gunicorn")
    stack.until_ready()
    order(stack, user, 2)
    hears(made, 1, 2)
    assert made.evaluate("sources.length") <= 2


@pytest.fixture
def buffering(stack: Stack) -> Iterator[str]:
    """The address of a proxy that passes on whole answers alone."""

    client = httpx.Client(trust_env=False, timeout=None)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: text for name, text in self.headers.items() if name.lower() != "accept-encoding"}
            try:
                url = f"{stack.url}{self.path}"
                answer = client.request(self.command, url, content=body, headers=headers)
            except httpx.RemoteProtocolError:
                return
            self.send_response(answer.status_code)
            for name, text in answer.headers.multi_items():
                if name not in ("transfer-encoding", "connection", "content-length", "server", "date"):
                    self.send_header(name, text)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_proxy_that_keeps_streams_back(stack: Stack, tab: Tab, page: Page, user: str, buffering: str) -> None:
    page.context.add_init_script("""
      const real = setTimeout;
      let waits = 4;  // of the first two connections: for a ticket, and for a sign
      window.setTimeout = (what, ms, ...words) => real(what, ms === 20000 && waits-- > 0 ? ms / 20 : ms, ...words);
    """)
    page.context.route("**/a-page", lambda route: route.fulfill(content_type="text/html", body=""))
    made = tab(stack, base=buffering, service=buffering)
    order(stack, user, 1)
    hears(made, 1)
    order(stack, user, 2, 3)
    hears(made, 1, 2, 3)
    assert "wait=5" in made.evaluate("sources.at(-1).url")
    assert made.evaluate("states.filter(state => state === 'open').length") == 1
