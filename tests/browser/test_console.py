"""The console in a real Chromium: what an admin sees and does there, and who gets in."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_accessible import faults
from tests.conftest import Start
from tests.support.clients.chatpage import no_wider_than
from tests.support.clients.eventsource import EventSource
from tests.support.stack import Stack

MOST_BYTES = 100_000  # the page, its styles and its scripts, not compressed
ADMIN: dict[str, Any] = {"admin": True, "publish": ["*"], "subscribe": ["*"]}


def sign_in(stack: Stack, page: Page, token: str) -> None:
    page.goto(f"{stack.url}/console")
    page.fill("#token", token)
    page.keyboard.press("Enter")


def open_console(stack: Stack, page: Page) -> None:
    sign_in(stack, page, stack.token("admin", **ADMIN))
    expect(page.locator("#state")).to_have_text("Live.")


def listen(stack: Stack, user: str) -> EventSource:
    return EventSource(f"{stack.url}/events", stack.bearer(user, subscribe=[f"user:{user}"]))


def value(page: Page, chart: str, line: str) -> Any:
    figure = page.locator("figure", has=page.get_by_role("heading", name=chart, exact=True))
    return figure.locator("dl > div", has=page.locator("dt", has_text=line)).locator("dd")


def test_the_charts_move_with_what_happens(stack: Stack, page: Page, user: str) -> None:
    open_console(stack, page)
    with listen(stack, user) as listener:
        listener.wait_open()
        expect(value(page, "Connections", "SSE")).to_have_text(re.compile(r"^[1-9]"))
        expect(value(page, "Workers", "workers")).to_have_text("2")
        listener.wait_ids(stack.publish(user=user))
        expect(value(page, "From publish to delivery", "median")).to_contain_text("ms")
        expect(value(page, "Redis round trips", "99 %")).to_contain_text("ms")
    expect(page.locator("figure svg .line").first).to_have_attribute("d", re.compile(r"M.*L"))


def test_a_user_is_found_with_their_events_and_cut_off(stack: Stack, page: Page, user: str) -> None:
    ids = [stack.publish(user=user, event="note", data=f"<b>{number}</b>") for number in range(15)]
    open_console(stack, page)
    with listen(stack, user) as listener:
        listener.wait_open()
        page.fill("#name", user)
        page.click("#find button")
        expect(page.locator("#people tr")).to_have_count(1)
        expect(page.locator("#people td").nth(1)).to_have_text("1")
        page.locator("#people button").press("Enter")
        expect(page.locator("#person")).to_be_focused()
        expect(page.locator("#past li")).to_have_count(10)
        expect(page.locator("#past li").first).to_contain_text(ids[-1])
        expect(page.locator("#past pre").first).to_have_text("<b>14</b>")
        page.click("#older")
        expect(page.locator("#past li")).to_have_count(15)
        expect(page.locator("#past li").last).to_contain_text(ids[0])
        expect(page.locator("#older")).to_be_hidden()
        with listen(stack, user) as second:
            second.wait_open()
            expect(page.locator("#people td").nth(1)).to_have_text("2")  # by itself
        expect(page.locator("#people td").nth(1)).to_have_text("1")
        page.once("dialog", lambda dialog: dialog.accept())
        page.click("#cut")
        expect(page.locator("#person-note")).to_have_text(f"Cut off: {user} had 1 connection.")


def test_pages_of_users(stack: Stack, page: Page, user: str) -> None:
    listeners = [listen(stack, f"{user}-{number:02}") for number in range(55)]
    for each in listeners:
        each.wait_open()
    open_console(stack, page)
    expect(page.locator("#people tr")).to_have_count(50)
    page.click("#next")
    expect(page.locator("#first")).to_be_enabled()
    expect(page.locator("#people")).to_contain_text(f"{user}-54")
    page.click("#first")
    expect(page.locator("#first")).to_be_disabled()
    expect(page.locator("#people tr")).to_have_count(50)
    for each in listeners:
        each.close()


def test_the_way_of_a_test_event(stack: Stack, page: Page, user: str) -> None:
    open_console(stack, page)
    page.fill("#to", user)
    page.keyboard.press("Enter")
    expect(page.locator("#probe-note")).to_contain_text("Arrived")
    steps = page.locator("#way li")
    expect(steps).to_have_count(4)
    for text in ("ticket given", "stream open", "publisher told", "arrived at this page"):
        expect(steps.filter(has_text=text)).to_contain_text("s")


def test_a_token_that_expires_says_so(shared: Start, page: Page) -> None:
    stack = shared(workers=1, leeway_seconds=0)
    sign_in(stack, page, stack.token("admin", ttl=8, admin=True))
    expect(page.locator("#state")).to_have_text("Live.")
    expect(page.locator("#left")).to_contain_text("Token good for")
    expect(page.locator("#state")).to_contain_text("The token has expired", timeout=60_000)
    expect(page.locator("#token")).to_be_focused()
    expect(page.locator("#charts")).to_be_visible()
    page.fill("#token", stack.token("admin", **ADMIN))
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("Live.")


def test_who_does_not_get_in(stack: Stack, page: Page, user: str) -> None:
    sign_in(stack, page, stack.token(user))
    expect(page.locator("#state")).to_contain_text("not an admin")
    page.fill("#token", "nonsense")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_contain_text("The token is not accepted")
    expect(page.locator("#inside")).to_be_hidden()


def test_the_token_stays_in_the_tab_until_one_signs_out(stack: Stack, page: Page) -> None:
    open_console(stack, page)
    page.reload()
    expect(page.locator("#state")).to_have_text("Live.")
    assert page.url == f"{stack.url}/console"
    assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
    page.click("#sign-out")
    expect(page.locator("#state")).to_have_text("Not signed in.")
    expect(page.locator("#inside")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (640, "dark"), (375, "dark"), (375, "light")])
def test_axe_finds_nothing(stack: Stack, page: Page, user: str, width: int, scheme: Any) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{stack.url}/console")
    assert faults(page) == []
    stack.publish(user=user)
    open_console(stack, page)
    with listen(stack, user) as listener:
        listener.wait_open()
        page.fill("#name", user)
        page.click("#find button")
        page.locator("#people button", has_text=user).click()
        expect(page.locator("#past li")).to_have_count(1)
        page.click("#probe button")
        expect(page.locator("#probe-note")).to_contain_text("Arrived")
    no_wider_than(page, width)
    assert faults(page) == []


def test_it_is_small(stack: Stack, page: Page) -> None:
    sizes = []
    page.on("response", lambda answer: sizes.append(len(answer.body())))
    page.goto(f"{stack.url}/console", wait_until="networkidle")
    assert len(sizes) >= 9
    assert sum(sizes) < MOST_BYTES
