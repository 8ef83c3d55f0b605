"""Chromium's own WebSocket, through nginx."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.behaviour.access.test_cut_off import cut
from tests.support.stack import Stack
from tests.support.tokens import new_ticket

_OPEN = """
async (url) => {
  window.messages = []; window.ended = null;
  const ws = window.ws = new WebSocket(url);
  ws.onmessage = (event) => window.messages.push(JSON.parse(event.data));
  await new Promise((resolve) => {
    ws.onopen = () => resolve();
    ws.onclose = (event) => { window.ended = [event.code, event.reason]; resolve(); };
  });
}
"""
_HELD = "(test) => window.messages.some((each) => Object.keys(test).every((name) => each[name] === test[name]))"


def url(stack: Stack, query: str = "") -> str:
    return f"{stack.url.replace('http', 'ws', 1)}/ws{query}"


def came(page: Page, **members: Any) -> None:
    """Wait until a message with these members has come."""
    page.wait_for_function(_HELD, arg=members)


def ask(page: Page, **message: Any) -> None:
    page.evaluate("(message) => window.ws.send(JSON.stringify(message))", message)


def ended(page: Page) -> list[Any]:
    page.wait_for_function("() => window.ended !== null")
    found: list[Any] = page.evaluate("() => window.ended")
    return found


def test_a_page_listens_calls_and_comes_back_by_its_cookie(stack: Stack, page: Page, user: str) -> None:
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user, topics=[f"{user}.a", f"{user}.b"])["ticket"]
    page.goto(f"{stack.url}/healthz")
    page.evaluate(_OPEN, url(stack, f"?ticket={ticket}&topics={user}.a"))
    came(page, type="open")
    first = stack.publish(topic=f"{user}.a", event="greeting", data="hellö")
    came(page, id=first, channel=f"topic:{user}.a", event="greeting", data="hellö")
    ask(page, type="subscribe", topics=[f"{user}.b"], ref="s")
    came(page, type="ok", ref="s")
    second = stack.publish(topic=f"{user}.b", data={"n": 1})
    came(page, id=second, data='{"n":1}')
    ask(page, type="publish", user=user, data=1, ref="p")
    came(page, type="error", status=403, ref="p")
    page.evaluate("() => window.ws.close(1000, 'bye')")
    assert ended(page)[0] == 1000
    third = stack.publish(topic=f"{user}.b", data="missed")
    page.evaluate(_OPEN, url(stack, f"?ticket={ticket}&last_event_id={second}"))
    came(page, id=third, data="missed")
    assert page.evaluate("() => window.messages.filter((each) => each.channel).length") == 1


def test_a_page_learns_why_it_is_cut(stack: Stack, page: Page, user: str) -> None:
    ticket = new_ticket(stack, stack.bearer(subscribe=["*"]), user=user)["ticket"]
    page.goto(f"{stack.url}/healthz")
    page.evaluate(_OPEN, url(stack, f"?ticket={ticket}"))
    came(page, type="open")
    cut(stack, user)
    assert ended(page) == [1008, "An admin has ended the connections of this user."]


def test_a_page_of_another_site_gets_nothing_by_its_cookie(stack: Stack, page: Page, user: str) -> None:
    """The host is the same, so the browser sends the cookie; the port is another, and so is the origin."""
    page.context.add_cookies([{"name": "pushsvc_token", "value": stack.token(user), "url": stack.url}])
    page.goto(f"{stack.url}/healthz")
    page.evaluate(_OPEN, url(stack))
    came(page, type="open")
    page.goto(f"{stack.app_url}/healthz")
    page.evaluate(_OPEN, url(stack))
    assert ended(page)[0] == 1006
