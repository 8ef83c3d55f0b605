"""A stack's readiness, by its own word."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.clients.eventsource import until
from tests.support.stack import Stack

WELL = (200, {"status": "ready"})


def readiness(stack: Stack) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"{stack.app_url}/readyz", trust_env=False)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()


def until_well(stack: Stack) -> None:
    until(lambda: readiness(stack) == WELL, "it to be well")


def published(stack: Stack, **item: Any) -> httpx.Response:
    return stack.post("/publish", {"data": "-"} | item, stack.bearer(publish=["*"]))
