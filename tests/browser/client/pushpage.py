"""A page of the service's own origin that uses the browser client, and what it has heard."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.support.stack import Stack

PAGE = """<!doctype html><title>a page</title><script>
  const heard = [], states = [], gaps = [], sources = [];
  window.EventSource = class extends EventSource { constructor(url) { super(url); sources.push(this); } };
  const leads = () => sources.some(source => source.readyState < 2);
  const ticket = async () => (await fetch("%(url)s/tickets", {
    method: "POST", headers: { Authorization: "Bearer %(token)s", "Content-Type": "application/json" },
    body: '{"user": "%(user)s"}',
  })).json();
  function begin({ connect }) {
    window.push = connect({ ticket, ...%(options)s });
    push.on("order", data => heard.push(data));
    push.onGap(gap => gaps.push(gap));
    push.onState(state => states.push(state));
  }
</script>%(script)s"""
MODULE = '<script type="module">import { connect } from "/push.js"; begin({ connect });</script>'
CLASSIC = '<script src="/push.js"></script><script>begin(pushsvc);</script>'

Tab = Callable[..., Page]


def order(stack: Stack, user: str, *numbers: int) -> None:
    for number in numbers:
        stack.publish(user=user, event="order", data=number)


def hears(page: Page, *numbers: int) -> None:
    """These, in order, and nothing else."""
    page.wait_for_function("count => heard.length >= count", arg=len(numbers))
    assert page.evaluate("heard") == list(numbers)


def unread(stack: Stack, user: str) -> int:
    return int(stack.get("/unread", stack.bearer(user)).json()["unread"])
