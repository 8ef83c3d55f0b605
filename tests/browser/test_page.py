"""The demo page in a real Chromium: what a newcomer sees, and a browser's own EventSource through faults."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Start
from tests.support.clients.eventsource import until
from tests.support.stack import Stack, connections


def seen(page: Page, event_id: str) -> None:
    expect(page.locator(f'#events .event[data-id="{event_id}"]')).to_have_count(1)


def ids(page: Page, user: str) -> list[str]:
    """The ids of the rows that speak of this user, oldest first."""
    rows = page.locator("#events .event").filter(has_text=user)
    return [str(each.get_attribute("data-id")) for each in reversed(rows.all())]


def test_publish_from_the_page_and_from_a_backend(stack: Stack, page: Page, user: str) -> None:
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    page.fill("#event-name", "order.paid")
    page.fill("#data", f"{user} <b>says</b>")
    page.click("#send")
    first = page.locator('#events .event[data-event="order.paid"]')
    expect(first.locator(".data")).to_have_text(f"{user} <b>says</b>")
    second = stack.publish(user=user, data=f"{user} from a backend")
    seen(page, second)
    expect(page.locator("#last-id")).to_have_text(second)
    expect(page.locator("#duplicates")).to_have_text("0")


def test_break_and_restore_replays_what_was_missed(stack: Stack, page: Page, user: str) -> None:
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    all_ids = [stack.publish(user=user, data=f"{user} 1")]
    seen(page, all_ids[0])
    page.click("#break")
    expect(page.locator("#state")).to_have_attribute("data-state", "broken")
    all_ids += [stack.publish(user=user, data=f"{user} {n}") for n in (2, 3)]
    page.click("#restore")
    seen(page, all_ids[2])
    all_ids.append(stack.publish(user=user, data=f"{user} 4"))
    seen(page, all_ids[3])
    assert ids(page, user) == all_ids
    expect(page.locator("#events .event.replayed")).to_have_count(2)
    expect(page.locator("#duplicates")).to_have_text("0")


def test_a_broken_connection_that_never_had_an_event_still_gets_it(stack: Stack, page: Page, user: str) -> None:
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    page.click("#break")
    missed = stack.publish(user=user, data=f"{user} missed")
    page.click("#restore")
    seen(page, missed)


def test_the_browser_s_own_reconnects_survive_every_restart(start: Start, page: Page, user: str) -> None:
    stack = start(workers=1)
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    all_ids = [stack.publish(user=user, data=f"{user} first")]
    seen(page, all_ids[0])
    for part in ("gunicorn", "nginx", "valkey"):
        stack.kill(part)
        stack.until_ready()
        all_ids.append(stack.publish(user=user, data=f"{user} after {part}", key=part))
        expect(page.locator(f'#events .event[data-id="{all_ids[-1]}"]')).to_have_count(1, timeout=20_000)
    assert ids(page, user) == all_ids
    expect(page.locator("#duplicates")).to_have_text("0")


def test_two_tabs_of_two_users(stack: Stack, browser: Browser, user: str) -> None:
    context = browser.new_context()
    tabs = []
    for name in (f"{user}-a", f"{user}-b"):
        tab = context.new_page()
        tab.goto(stack.page(f"/?user={name}"))
        expect(tab.locator("#state")).to_have_attribute("data-state", "open")
        tabs.append((name, tab))
    published = {name: stack.publish(user=name, data=f"{name} only") for name, _ in tabs}
    for name, tab in tabs:
        seen(tab, published[name])
        assert ids(tab, user) == [published[name]]
    context.close()


@pytest.mark.parametrize("path", ["/", "/chat", "/demo"])
def test_the_word_that_was_printed_gives_a_token_and_leaves_the_address(stack: Stack, path: str) -> None:
    given = httpx.get(stack.page(f"{path}?user=a%20b&x=1"), trust_env=False)
    assert (given.status_code, given.headers["referrer-policy"]) == (303, "no-referrer")
    assert urljoin(f"{stack.url}{path}", given.headers["location"]) == f"{stack.url}{path}?user=a+b&x=1"
    cookie = given.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    back = httpx.get(f"{stack.url}{path}", headers={"Cookie": cookie.partition(";")[0]}, trust_env=False)
    assert back.status_code == 200
    assert "set-cookie" in back.headers


@pytest.mark.parametrize("query", ["", "?demo=", "?demo=wrong", "?demo=%C3%A9", "?demo=wrong&demo=x"])
@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "push.example.com"])
def test_nobody_else_gets_one(stack: Stack, query: str, host: str) -> None:
    """A stranger behind a plain `proxy_pass` or a tunnel looks as the one who started it does."""
    for base in (stack.url, stack.app_url):
        for path in ("/", "/chat", "/demo"):
            answer = httpx.get(f"{base}{path}{query}", headers={"Host": host}, trust_env=False)
            assert answer.status_code == 200
            assert "set-cookie" not in answer.headers
    stranger = {"Cookie": f"pushsvc_token={stack.token('demo')}"}
    assert "set-cookie" not in httpx.get(stack.url, headers=stranger, trust_env=False).headers


def test_without_the_demo_cookie_a_token_is_asked_for(start: Start, page: Page, user: str) -> None:
    stack = start(workers=1, demo="false")
    assert "demo=" not in stack.output
    page.goto(f"{stack.url}/?user={user}")
    expect(page.locator("#token")).to_be_visible()
    page.fill("#token", stack.token("demo", publish=["*"], subscribe=["*"]))
    page.click("#connect")
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    seen(page, stack.publish(user=user, data=f"{user} hello"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_how_it_looks(stack: Stack, browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    """A picture for people, and no sideways scrolling."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(stack.page("/"))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    page.screenshot(path=tmp_path / "page.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


@pytest.mark.parametrize("path", ["/", "/chat", "/demo"])
def test_a_page_runs_only_what_the_service_serves(stack: Stack, path: str) -> None:
    answer = httpx.get(f"{stack.url}{path}", trust_env=False)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
        part = httpx.get(f"{stack.url}{name}", trust_env=False)
        assert part.headers["content-type"].startswith(("text/javascript", "text/css"))
        assert (part.headers["cache-control"], part.headers["x-content-type-options"]) == ("no-cache", "nosniff")
        again = httpx.get(f"{stack.url}{name}", headers={"If-None-Match": part.headers["etag"]}, trust_env=False)
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fchat.html", "%2e%2e%2fchat.html", ""])
def test_only_the_pages_own_files_are_served(stack: Stack, name: str) -> None:
    assert httpx.get(f"{stack.url}/static/{name}", trust_env=False).status_code == 404


def test_a_page_left_by_a_link_takes_no_event_from_the_next(stack: Stack, page: Page, user: str) -> None:
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    page.click("nav >> text=Clock")
    until(lambda: connections(stack, user) == 0, "the stream of the page that was left to end")
    missed = stack.publish(user=user, data=f"{user} meanwhile")
    page.goto(stack.page(f"/?user={user}"))
    seen(page, missed)


def test_on_a_phone_the_events_are_in_view_when_one_sends(stack: Stack, page: Page, user: str) -> None:
    page.set_viewport_size({"width": 375, "height": 667})
    page.goto(stack.page(f"/?user={user}"))
    expect(page.locator("#state")).to_have_attribute("data-state", "open")
    page.fill("#data", f"{user} sent")
    page.click("#send")
    expect(page.locator("#events .event").filter(has_text=f"{user} sent")).to_be_in_viewport(ratio=1)
