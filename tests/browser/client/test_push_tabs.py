"""The browser client in several tabs of one browser, which share a connection."""

from __future__ import annotations

from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page, Route

from tests.browser.client.pushpage import Tab, hears, order
from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.stack import Stack, connections


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


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.long)])
def test_eight_tabs_share_a_connection_over_kills_of_the_leader(
    stack: Stack, tab: Tab, page: Page, user: str, kills: int
) -> None:
    tabs = [tab(stack, share=user) for _ in range(8)]
    assert connections(stack, user) == 1
    order(stack, user, 0)
    expected = {each: [0] for each in tabs}
    for number in range(1, kills + 1):
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


def test_lost_events_are_told_to_each_tab_that_missed_them(start: Start, tab: Tab, user: str) -> None:
    stack = start(workers=1, keep_events=5)
    stays, leaves = tab(stack, share=user), tab(stack, share=user)
    order(stack, user, 1)
    for each in (stays, leaves):
        hears(each, 1)
    leaves.goto("about:blank")
    order(stack, user, *range(2, 62))
    hears(stays, *range(1, 62))
    leaves.goto(f"{stack.url}/a-page")
    leaves.wait_for_function("heard.at(-1) === 61")
    heard = leaves.evaluate("heard")
    assert heard == list(range(heard[0], 62))
    assert heard[0] == 2 or [gap["reason"] for gap in leaves.evaluate("gaps")] == ["trimmed"]
    order(stack, user, 62)
    hears(stays, *range(1, 63))
    assert stays.evaluate("gaps") == []
