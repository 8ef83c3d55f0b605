"""The survival of the pages' own streams (templates/static/stream.js): seen on the page of events, in Chromium."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.support.clients.eventsource import until
from tests.support.stack import Stack

REFUSED = 'retry: 1000\nevent: refused\ndata: {"status": 503, "detail": "No room for now."}\n\n'
STREAM = "text/event-stream"


def once(page: Page, **answer: Any) -> None:
    """Give the first stream that the page opens this instead of an answer of ours."""
    page.route("**/events?*", lambda route: route.fulfill(**answer), times=1)


def becomes_live(stack: Stack, page: Page, user: str) -> None:
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    published = stack.publish(user=user, data=f"{user} live")
    expect(page.locator(f'#events .event[data-id="{published}"]')).to_have_count(1)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 502, "content_type": "text/html", "body": "<h1>502</h1>"},
        {"status": 200, "content_type": "text/html", "body": "<h1>Sign in</h1>"},
        {"status": 401, "body": "{}"},  # a ticket that somebody else was quicker with
        {"status": 200, "content_type": STREAM, "body": ""},
        {"status": 200, "content_type": STREAM, "body": "event: refused\ndata: no JSON\n\n"},
    ],
)
def test_it_comes_back(stack: Stack, page: Page, user: str, answer: dict[str, Any]) -> None:
    once(page, **answer)
    page.goto(stack.page(f"/?user={user}"))
    becomes_live(stack, page, user)


def test_a_refusal_for_now_is_told_in_its_words(stack: Stack, page: Page, user: str) -> None:
    once(page, content_type=STREAM, body=REFUSED)
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_text("No room for now.")
    becomes_live(stack, page, user)


def test_a_refusal_for_good_ends_it(stack: Stack, page: Page, user: str) -> None:
    once(page, content_type=STREAM, body=REFUSED.replace("503", "401").replace("No room for now", "Cut by hand"))
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_text("Not connected: Cut by hand.")
    expect(page.locator("#state")).to_have_attribute("data-state", "closed")


@pytest.fixture
def asked(page: Page) -> list[Request]:
    """The streams that the page has asked for; its clock is in the test's hands."""
    page.clock.install()
    found: list[Request] = []
    page.on("request", lambda request: found.append(request) if "/events?" in request.url else None)
    return found


def test_an_answer_that_never_comes_is_given_up(stack: Stack, page: Page, user: str, asked: list[Request]) -> None:
    hanging: list[Route] = []
    page.route("**/events?*", lambda route: hanging.append(route), times=1)
    with page.expect_request("**/events?*"):
        page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_attribute("data-state", "connecting")
    page.clock.fast_forward(6000)
    expect(page.locator("#state")).to_contain_text("others may hold them")
    page.clock.fast_forward(30_000)
    becomes_live(stack, page, user)
    assert (len(hanging), len(asked)) == (1, 2)


def test_a_stream_that_falls_silent_is_given_up(stack: Stack, page: Page, user: str, asked: list[Request]) -> None:
    """Its heartbeats told how long it may be silent."""
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")

    def given_up() -> bool:
        page.clock.fast_forward(3_600_000)
        return len(asked) > 1

    until(given_up, "the page to ask again")
    becomes_live(stack, page, user)
