"""Chromium over TLS, with HTTP/2 where that is good, behind proxies before two services. One is stopped, and then the
other killed: no page dies, and each hears all events once and in order."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

from proxies.conftest import Pair
from proxies.support.kinds import Kind
from proxies.support.running import Proxy
from proxies.support.tls import TLS_KINDS, over_tls
from proxies.test_two_services import Publisher, kill, publishing, up_again
from tests.support.clients.eventsource import until

OPEN = """urls => {
  window.tabs = urls.map(url => {
    const tab = { heard: [], source: new EventSource(url) };
    tab.source.onmessage = event => tab.heard.push(Number(event.data));
    return tab;
  });
}"""
STATES = "() => tabs.map(tab => ({ state: tab.source.readyState, heard: tab.heard.at(-1) ?? -1 }))"
CLOSED = 2
# Apache's HTTP/2 lets a connection have few answers under way, and fewer once some were cut: others wait for ever.
OVER_HTTP_1 = ("Apache",)


@pytest.mark.parametrize("kind", TLS_KINDS, ids=[kind.name for kind in TLS_KINDS])
def test_chromium(kind: Kind, own_pair: Pair, browser: Browser, tmp_path: Path, user: str) -> None:
    secure, over_http_1 = over_tls(kind, tmp_path), kind.name in OVER_HTTP_1
    with Proxy(secure, secure.file, own_pair.ports) as proxy:
        url = proxy.url.replace("http://127.0.0.1", "https://localhost")
        with httpx.Client(base_url=url, verify=False, trust_env=False, timeout=20) as client:
            until(lambda: _status(client) == 200, "the proxy to find a service")
            tickets = [_ticket(client, own_pair, f"{user}-{number}") for number in range(5 if over_http_1 else 8)]
            context = browser.new_context(ignore_https_errors=True)
            page = context.new_page()
            page.goto(f"{url}/healthz")
            assert page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol") == (
                "http/1.1" if over_http_1 else "h2"
            )
            page.evaluate(OPEN, tickets)
            with publishing(url, own_pair.one, verify=False) as publisher:
                _break_both(own_pair, page, publisher)
            last = publisher.published - 1
            until(lambda: all(tab["heard"] == last for tab in _states(page)), "the last event")
            for heard in page.evaluate("tabs.map(tab => tab.heard)"):
                assert heard == list(range(heard[0], last + 1)), "an event is missing, double, or not in order"
            cookies = [each for each in context.cookies() if each["name"].startswith("pushsvc")]
            assert cookies
            assert all(each["secure"] for each in cookies), "the service knows that browsers come over HTTPS"
            context.close()


def _status(client: httpx.Client) -> int:
    try:
        return client.get("/readyz").status_code
    except httpx.HTTPError:
        return 0


def _ticket(client: httpx.Client, pair: Pair, user: str) -> str:
    answer = client.post("/tickets", json={"user": user}, headers=pair.one.bearer(user))
    assert answer.status_code == 200, answer.text
    pair.one.secrets.add(answer.json()["ticket"])
    url: str = answer.json()["url"]
    return url


def _states(page: Page) -> list[dict[str, Any]]:
    """The state of each tab: its `readyState`, and the last number that it heard."""
    states: list[dict[str, Any]] = page.evaluate(STATES)
    assert all(tab["state"] != CLOSED for tab in states), f"a page died: {states}"
    return states


def _break_both(pair: Pair, page: Page, publisher: Publisher) -> None:
    def hear_more() -> None:
        wanted = publisher.published + 5
        until(lambda: all(tab["heard"] >= wanted for tab in _states(page)), "all tabs to hear more")

    hear_more()
    pair.one.stop(signal.SIGTERM)
    hear_more()
    up_again(pair.one)
    hear_more()
    kill(pair.two)
    hear_more()
    up_again(pair.two)
    hear_more()
