"""A backend that publishes without a pause."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.support.stack import Stack


@contextmanager
def publishing(stack: Stack, user: str, topic: str = "") -> Iterator[list[str]]:
    """A backend that publishes without a pause, to the topic or else the user, repeats what was not answered under the
    same key, and keeps what was acknowledged, in order."""
    acked: list[str] = []
    stop = threading.Event()
    headers = stack.bearer(publish=["*"])
    target = {"topic": topic} if topic else {"user": user}

    def work() -> None:
        number = 0
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not stop.is_set():
                body = target | {"data": f"{topic}{user} {number}", "key": f"{user}-{number}"}
                try:
                    answer = client.post(f"{stack.url}/publish", json=body, headers=headers)
                except httpx.HTTPError:
                    continue
                if answer.status_code == 200:
                    acked.append(body["data"])
                    number += 1
                else:
                    assert answer.status_code in (502, 503), answer.text
                    stop.wait(0.05)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield acked
    finally:
        stop.set()
        worker.join()
