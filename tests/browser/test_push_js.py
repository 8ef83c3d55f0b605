"""The browser client (npm/push.js) in Chromium, on pages of the service's own origin."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Error, Page, Route

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.stack import ROOT, Stack, connections

PAGE = """<!doctype html><title>a page</title><script>
  const heard = [], states = [], gaps = [], sources = [];
  window.EventSource = class extends EventSource { constructor(url) { super(url); sources.push(this); } };
  const leads = () => sources.some(source => source.readyState < 2);
  const ticket = async () => (await fetch("%(url)s/tickets", {
    method: "POST", headers: { Authorization: "Bearer %(token)s", "Content-Type": "application/json" },
    body: '{"user": "%(user)s"}',
  })).json();
  function begin({ connect }) {
    window.push = connect({ ticket, ...%(options)s });
    push.on("order", data => heard.push(data));
    push.onGap(gap => gaps.push(gap));
    push.onState(state => states.push(state));
  }
</script>%(script)s"""
MODULE = '<script type="module">import { connect } from "/push.js"; begin({ connect });</script>'
CLASSIC = '<script src="/push.js"></script><script>begin(pushsvc);</script>'

Tab = Callable[..., Page]


@pytest.fixture
def tab(page: Page, user: str) -> Tab:
    """Open a tab with the client, connected when this returns; all are of one browser, and of one user."""

    def opener(stack: Stack, script: str = MODULE, *, base: str = "", wait: bool = True, **options: Any) -> Page:
        values = {"token": stack.token(subscribe=["*"]), "user": user, "url": stack.url, "script": script}
        values["options"] = json.dumps(options)

        def answer(route: Route) -> None:
            route.fulfill(content_type="text/html", body=PAGE % values)

        if not base:
            page.context.route("**/a-page", answer)
        made = page.context.new_page()
        made.goto(f"{base or stack.url}/a-page")
        if base:  # Chromium lets only a page that came from this machine read what is on it
            made.evaluate("text => { document.open(); document.write(text); document.close(); }", PAGE % values)
            made.wait_for_function("window.push")
        if wait:
            made.wait_for_function("push.state == 'open'")
        return made

    return opener


def order(stack: Stack, user: str, *numbers: int) -> None:
    for number in numbers:
        stack.publish(user=user, event="order", data=number)


def hears(page: Page, *numbers: int) -> None:
    """These, in order, and nothing else."""
    page.wait_for_function("count => heard.length >= count", arg=len(numbers))
    assert page.evaluate("heard") == list(numbers)


def unread(stack: Stack, user: str) -> int:
    return int(stack.get("/unread", stack.bearer(user)).json()["unread"])


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


def test_it_outlives_workers(start: Start, tab: Tab, user: str) -> None:
    stack = start(workers=2)
    tabs = [tab(stack, share=user), tab(stack, share=user)]
    order(stack, user, 1)
    for each in tabs:
        hears(each, 1)
    stack.kill("gunicorn")
    stack.until_ready()
    order(stack, user, 2, 3)
    for each in tabs:
        hears(each, 1, 2, 3)
        assert each.evaluate("gaps") == []


DENIED = [
    "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })",
    "navigator.locks.request = async () => { throw new DOMException('', 'SecurityError') }",
    "window.BroadcastChannel = class { constructor() { throw new DOMException('', 'SecurityError') } }",
    "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('', 'SecurityError') } })",
]


@pytest.mark.parametrize("denied", DENIED)
def test_what_a_browser_denies_is_not_needed(stack: Stack, tab: Tab, page: Page, user: str, denied: str) -> None:
    page.context.add_init_script(denied)
    tabs = [tab(stack, share=user), tab(stack, share=user)]
    order(stack, user, 1)
    for each in tabs:
        hears(each, 1)


# ---- One connection for all tabs ----


def crash(page: Page) -> None:
    """Kill the tab's process, as the system does when memory is short."""
    session = page.context.new_cdp_session(page)
    with page.expect_event("crash"), suppress(Error):
        session.send("Page.crash", timeout=100)  # ms: no answer can come


def leader(tabs: list[Page]) -> Page:
    found: list[Page] = []

    def one() -> bool:
        found[:] = [each for each in tabs if each.evaluate("leads()")]
        return len(found) == 1

    until(one, "one tab to lead")
    return found[0]


def test_eight_tabs_share_a_connection_over_kills_of_the_leader(stack: Stack, tab: Tab, page: Page, user: str) -> None:
    tabs = [tab(stack, share=user) for _ in range(8)]
    assert connections(stack, user) == 1
    order(stack, user, 0)
    expected = {each: [0] for each in tabs}
    for number in range(1, 21):
        dying = leader(tabs)
        order(stack, user, 2 * number)
        crash(dying)
        order(stack, user, 2 * number + 1)
        tabs.remove(dying)
        for each in tabs:
            expected[each] += [2 * number, 2 * number + 1]
        for each in tabs:
            hears(each, *expected[each])
        tabs.append(tab(stack, share=user))
        expected[tabs[-1]] = []
    until(lambda: connections(stack, user) == 1, "one connection")


def test_a_leader_that_hangs_or_is_frozen_gives_way(stack: Stack, tab: Tab, page: Page, user: str) -> None:
    held: list[Route] = []
    page.context.route("**/hang", lambda route: held.append(route))
    hangs = tab(stack, share=user)
    other = tab(stack, share=user)
    order(stack, user, 1)
    hears(other, 1)
    hangs.evaluate("""setTimeout(() => {
      const request = new XMLHttpRequest();
      request.open("GET", "/hang", false);
      request.send();
    })""")

    other.evaluate("""() => {
      const real = setTimeout;
      window.setTimeout = (what, ms) => {  // once, the wait for a sign of the leader
        window.setTimeout = real;
        return real(what, ms / 100);
      };
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    until(lambda: other.evaluate("leads()"), "the other tab to lead")
    order(stack, user, 2)
    hears(other, 1, 2)
    held[0].fulfill(body="")
    hears(hangs, 1, 2)
    assert leader([hangs, other]) == other
    other.evaluate("document.dispatchEvent(new Event('freeze'))")  # Chromium freezes no page of a headless browser
    until(lambda: hangs.evaluate("leads()"), "the tab that is not frozen to lead")
    order(stack, user, 3)
    hears(hangs, 1, 2, 3)
    other.evaluate("document.dispatchEvent(new Event('resume'))")
    hears(other, 1, 2, 3)
    until(lambda: connections(stack, user) == 1, "one connection")


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
