"""Drives Chromium with Playwright."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Playwright

from tests.support.programs import CHROMIUM_FLAGS

_BLOCK_ALL_COOKIES = {"profile": {"default_content_setting_values": {"cookies": 2}}}


class Chromium:
    """One browser with a profile of its own."""

    def __init__(self, playwright: Playwright, folder: Path, binary: str, *, cookies: bool) -> None:
        profile = folder / "Default"
        profile.mkdir(parents=True)
        (profile / "Preferences").write_text(json.dumps({} if cookies else _BLOCK_ALL_COOKIES))
        self._context = playwright.chromium.launch_persistent_context(
            folder, executable_path=binary, args=CHROMIUM_FLAGS
        )

    def open(self, url: str) -> ChromiumTab:
        page = self._context.new_page()
        page.goto(url)
        return ChromiumTab(page)

    def close(self) -> None:
        self._context.close()


class ChromiumTab:
    def __init__(self, page: Page) -> None:
        self._page = page

    def run(self, expression: str) -> Any:
        """The expression's value, a promise's once it is kept."""
        return self._page.evaluate(f"(async () => (await ({expression})) ?? null)()")

    def close(self) -> None:
        self._page.close()
