"""Streams that a ticket opened, and the proofs in their ids."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.support.clients.eventsource import EventSource
from tests.support.stack import Stack
from tests.support.tokens import new_ticket


def url_of(stack: Stack, user: str, base: str | None = None, **ticket: Any) -> str:
    return f"{base or stack.url}{new_ticket(stack, stack.bearer(subscribe=['*']), user=user, **ticket)['url']}"


def used(url: str, headers: dict[str, str] | None = None) -> tuple[str, str]:
    """Use a ticket once, and give its proof and its cookie."""
    with EventSource(url, headers) as source:
        source.wait_open().wait(lambda source: source.last_id, "an id")
        return source.last_id.partition("~")[2], source.headers["set-cookie"].split(";")[0]


def status(url: str, **headers: str) -> int:
    with EventSource(url, {name.replace("_", "-"): value for name, value in headers.items()}) as source:
        source.wait(lambda source: source.statuses, "an answer")
        return source.statuses[0]


def digest(url: str) -> str:
    return hashlib.sha256(url.partition("ticket=")[2].encode()).hexdigest()


def make_stale(stack: Stack, user: str, url: str) -> None:
    """End the moment in which a ticket's stream may be taken over."""
    key = stack.keys_of(user).ticket_use(digest(url))
    assert stack.redis.pttl(key) <= 3000
    stack.redis.delete(key)
