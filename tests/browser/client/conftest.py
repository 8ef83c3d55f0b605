"""A tab with the browser client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.browser.client.pushpage import MODULE, PAGE, Tab
from tests.support.stack import Stack


@pytest.fixture
def tab(page: Page, user: str) -> Tab:
    """Open a tab with the client, connected when this returns; all are of one browser, and of one user."""

    def opener(
        stack: Stack, script: str = MODULE, *, base: str = "", service: str = "", wait: bool = True, **options: Any
    ) -> Page:
        values = {"token": stack.token(subscribe=["*"]), "user": user, "url": service or stack.url, "script": script}
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
