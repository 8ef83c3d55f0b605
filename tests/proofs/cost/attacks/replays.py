"""Attacks with large backlogs, by clients that read nothing or everything."""

from __future__ import annotations

import contextlib
import json
import time

from tests.proofs.cost.attack import Attack, Target
from tests.support.clients.wire import request

_JSON = "Content-Type: application/json"
_TOPICS = [f"t{number}" for number in range(100)]
_LARGE = "x" * 64_000
_NON_READER_SECONDS = 5.0


def _fill(target: Target) -> str:
    """Publish a hundred large events to each of a hundred topics."""
    for topic in _TOPICS:
        for _ in range(10):
            body = json.dumps([{"topic": topic, "data": _LARGE}] * 10).encode()
            target.ask("POST /publish", _JSON, target.bearer(publish=["*"]), body=body)
    return ",".join(_TOPICS)


def _fill_own(target: Target) -> str:
    for _ in range(100):
        body = json.dumps([{"user": "mallory", "data": _LARGE}] * 10).encode()
        target.ask("POST /publish", _JSON, target.bearer(publish=["*"]), body=body)
    return ""


def _do_not_read(target: Target, topics: str) -> None:
    line = f"GET /events?since=earliest&topics={topics}"
    with contextlib.suppress(OSError), target.connect() as client:
        client.sendall(request(line, target.bearer("mallory", subscribe=["*"])))
        time.sleep(_NON_READER_SECONDS)


def _read_all(target: Target, topics: str) -> None:
    line = f"GET /events?since=earliest&topics={topics}"
    until = time.monotonic() + _NON_READER_SECONDS
    with contextlib.suppress(OSError), target.connect() as client:
        client.sendall(request(line, target.bearer("mallory", subscribe=["*"])))
        while time.monotonic() < until and client.recv(2**20):
            pass


def _page(target: Target, _: str) -> None:
    line = "GET /history?channel=user:mallory&limit=1000"
    with contextlib.suppress(OSError), target.connect(target.http) as client:
        client.sendall(request(line, target.bearer("mallory")))
        time.sleep(_NON_READER_SECONDS)


def _count(target: Target, _: str) -> None:
    target.ask("GET /unread", target.bearer("mallory"))


ATTACKS = {
    "unread-backlog-of-100-topics": Attack(_do_not_read, _fill, at_once=20),
    "backlog-of-100-topics": Attack(_read_all, _fill, at_once=4),
    "unread-backlog-of-1000-events": Attack(_do_not_read, _fill_own, at_once=20),
    "unread-pages": Attack(_page, _fill_own, at_once=20),
    "counts": Attack(_count, _fill_own, at_once=4, pause=0.02),
}
