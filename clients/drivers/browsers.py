"""The three engines as listeners: pages of the service's origin, of another origin of its site, and of another site."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from playwright.sync_api import Playwright, sync_playwright

from clients.drivers.chromium import Chromium
from clients.drivers.firefox import Firefox
from clients.drivers.webkit import WebKit
from clients.site.site import Site
from tests.support import programs
from tests.support.stack import ROOT

NEEDED = {
    "Chromium": (programs.CHROMIUM,),
    "Firefox": (programs.FIREFOX,),
    "WebKit": (programs.WEBKIT, programs.XVFB),
}
ENGINES = tuple(NEEDED)
PLACES = {
    "same origin": "{service}/healthz",
    "other origin": "http://127.0.0.1:{port}/",
    "other site, no cookies": "http://localhost:{port}/",
}


class Tab(Protocol):
    def run(self, expression: str) -> Any:
        """The expression's value, a promise's once it is kept."""

    def close(self) -> None: ...


class Browser(Protocol):
    def open(self, url: str) -> Tab: ...

    def close(self) -> None: ...


class Browsers:
    """The browsers: each engine with cookies and without, started when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[tuple[str, bool], Browser] = {}
        self._open = ExitStack()
        self._playwright: Playwright | None = None

    def get(self, engine: str, *, cookies: bool) -> Browser:
        """Give the engine's browser. Skips the test where it is not installed."""
        key = (engine, cookies)
        if key not in self._running:
            browser = self._start(engine, self._folder / f"{engine}-{cookies}", cookies)
            self._open.callback(browser.close)
            self._running[key] = browser
        return self._running[key]

    def _start(self, engine: str, folder: Path, cookies: bool) -> Browser:
        paths = [programs.need(names) for names in NEEDED[engine]]
        if engine == "Firefox":
            return Firefox(folder, *paths, cookies=cookies)
        if engine == "WebKit":
            return WebKit(folder, *paths, cookies=cookies)
        if self._playwright is None:  # one serves all of a process
            self._playwright = self._open.enter_context(sync_playwright())
        return Chromium(self._playwright, folder, *paths, cookies=cookies)

    def close(self) -> None:
        self._open.close()


def snippet() -> str:
    """The script that docs/listen.md tells pages to use."""
    blocks = re.findall(r"```js\n(.*?)```", (ROOT / "docs/listen.md").read_text(), re.DOTALL)
    found: str = next(block for block in blocks if "pageshow" in block)
    return found


ALONE = """
    window.source = new EventSource(url);
    source.onmessage = (event) => heard.push(event.data);
    source.addEventListener("cursor", () => { window.placed = true; });
    source.onerror = () => { window.closed_ = source.readyState === 2; };
"""


class Page:
    """A page that listens, in a tab of its own."""

    def __init__(self, tab: Tab, script: str) -> None:
        self._tab = tab
        tab.run("(window.heard = [], window.show = (data) => heard.push(data), null)")
        tab.run(f"(async () => {{ {script} }})()")

    def placed(self) -> bool:
        return bool(self._tab.run("window.placed"))

    def heard(self) -> list[str]:
        heard: list[str] = self._tab.run("heard")
        return heard

    def closed(self) -> bool:
        return bool(self._tab.run("window.closed_"))

    def said(self) -> str:
        asked = "performance.getEntriesByType('resource').map((entry) => [entry.name, entry.responseStatus]).slice(-5)"
        return f"readyState {self._tab.run('window.source?.readyState')}, asked {self._tab.run(asked)}"

    def close(self) -> None:
        self._tab.close()


def alone(browsers: Browsers, site: Site, engine: str, place: str, user: str, good: bool) -> Page:
    """`new EventSource(url)`, and nothing else."""
    url = site.ticket(user)["url"] if good else site.bad_ticket
    return Page(_open(browsers, site, engine, place), f"const url = {json.dumps(url)}; {ALONE}")


def with_the_snippet(browsers: Browsers, site: Site, engine: str, place: str, user: str, good: bool) -> Page:
    """listen.md's snippet, word for word but for the address of the backend."""
    query = {"user": user} if good else {"user": user, "first": site.bad_ticket}
    backend = f"http://127.0.0.1:{site.pages.port}/your-backend/ticket?{urlencode(query)}"
    return Page(_open(browsers, site, engine, place), snippet().replace('"/your-backend/ticket"', json.dumps(backend)))


def _open(browsers: Browsers, site: Site, engine: str, place: str) -> Tab:
    browser = browsers.get(engine, cookies="no cookies" not in place)
    return browser.open(PLACES[place].format(service=site.url, port=site.pages.port))
