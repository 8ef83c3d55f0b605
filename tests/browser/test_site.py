"""The page of docs/listen.md in Chromium, on another site than ours; `make clients` runs all of it, in every
engine."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import Start
from tests.support import programs
from tests.support.clients.site import Site, lives_through
from tests.support.stack import ROOT, Stack


class Chromium:
    """A tab, as `tests.support.clients.site` wants it."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def open(self, url: str) -> None:
        self._page.goto(url)

    def run(self, script: str) -> Any:
        return self._page.evaluate(script)

    def back(self) -> None:
        self._page.go_back(wait_until="commit")  # what comes out of the cache loads nothing


@pytest.fixture(scope="module")
def cached() -> Iterator[Browser]:
    """A browser that keeps pages that are left, as people's do."""
    path = programs.need(programs.CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=programs.CHROMIUM_FLAGS,
            ignore_default_args=["--disable-back-forward-cache"],
        )
        yield browser
        browser.close()


@pytest.fixture
def tab(cached: Browser) -> Iterator[Chromium]:
    page = cached.new_page()  # in a context of its own
    yield Chromium(page)
    page.close()


@pytest.fixture(scope="module")
def _site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture
def site(_site: Site, shared: Start, user: str) -> Iterator[Site]:
    yield _site.stand_before(shared(workers=1, allowed_origins=_site.origin), user)
    _site.network.refuse()


@pytest.mark.parametrize("fault", ["refused", "a bad gateway", "away and back"])
def test_the_documented_page_lives_through(tab: Chromium, site: Site, fault: str) -> None:
    lives_through(tab, site, fault, times=2)


def test_the_page_of_events_shows_that_code(stack: Stack) -> None:
    code = (ROOT / "templates/page.js").read_text()
    assert f"```js\n{code}```" in (ROOT / "docs/listen.md").read_text()
    shown = httpx.get(stack.url, trust_env=False).text
    assert html.escape(code.rstrip("\n"), quote=False) in shown.replace("&#34;", '"').replace("&#39;", "'")
