"""The page /chat, as tests use it."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.stack import Stack

DEMO = "demo"  # the user of every page that brings its own token


def say(page: Page, prompt: str) -> None:
    page.fill("#prompt", prompt)
    page.press("#prompt", "Enter")


def answer(page: Page) -> Locator:
    return page.locator('.message[data-role="assistant"]').last


def ends(page: Page, state: str = "completed") -> None:
    expect(answer(page)).to_have_attribute("data-state", state)


def text(page: Page) -> str:
    """The text of the answer to the letter: what Playwright compares has its blanks and line ends tidied."""
    found: str = answer(page).locator(".text").evaluate("element => element.textContent")
    return found


def generation(page: Page, stack: Stack, user: str = DEMO) -> Any:
    """The generation that the page shows, as the service has it."""
    expect(page).to_have_url(re.compile(r"#gen_\w+$"))
    shown = page.url.partition("#")[2]
    expect(answer(page)).to_have_attribute("data-id", shown)
    return stack.get(f"/v1/generations/{shown}", stack.bearer(user)).json()


def messages(page: Page) -> list[str]:
    return page.locator(".message .text").all_text_contents()


def no_wider_than(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
