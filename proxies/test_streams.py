"""A stream through each proxy: when its events come, whether it lives while it is idle, how soon it is noticed that its
browser left, and what it gets while no service answers."""

from __future__ import annotations

import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from proxies.conftest import Pair
from proxies.support.kinds import KINDS, Kind
from proxies.support.running import Proxy, becomes, status_of
from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from tests.support.clients.eventsource import EventSource, until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests
from tests.support.stack import connections

IDLE_SECONDS = 40.0  # more than two heartbeats
NOTICED_SECONDS = 5.0  # in which a proxy that asks each second has seen that no service is ready
LONGEST_LEAVING = 100.0  # seconds: beyond it counts as never
Record = Callable[[str, object], None]

_WAYS = [(kind, what, file) for kind in KINDS
         for what, file in {"plain": kind.plain, "recommended": kind.file, **kind.others}.items()]  # fmt: skip
ways = pytest.mark.parametrize(("kind", "what", "file"), _WAYS, ids=[f"{kind.name}, {what}" for kind, what, _ in _WAYS])


@ways
def test_an_idle_stream(kind: Kind, what: str, file: str, pair: Pair, user: str, record_property: Record) -> None:
    """Events come one by one, the stream lives on while nothing is said, and a browser that leaves is noticed."""
    record_property("cell", (kind.name, what))
    with Proxy(kind, file, pair.ports) as proxy:
        becomes(lambda: status_of(f"{proxy.url}/readyz") == 200, 20)  # some look for the services first
        source = EventSource(f"{proxy.url}/events", pair.one.bearer(user), reconnect=True)
        try:
            first = _first_events(pair, source, user)
            record_property("first", first)
            if first is None:
                assert what != "recommended", "no event arrives"
                return
            opened, count = source.opened, len(source.messages)
            lives = not becomes(lambda: source.opened > opened, IDLE_SECONDS)
            record_property("idle", lives)
            assert lives or what != "recommended", "an idle stream was cut"
            pair.one.publish(user=user, data="after the silence")
            source.wait_for(count + 1)
        finally:
            source.close()
        seconds = _left(pair, user)
        record_property("left", seconds)
        assert seconds is not None or what != "recommended", "the stream goes on after its browser has left"


def _first_events(pair: Pair, source: EventSource, user: str) -> float | None:
    """Milliseconds from the publish to the event, the median of six. None: nothing arrives."""
    if not becomes(lambda: source.opened, 10):
        return None
    took = []
    address, headers = f"{pair.one.app_url}/publish", pair.one.bearer(publish=["*"])
    with httpx.Client(headers=headers, trust_env=False) as publisher:
        for number in range(-1, 6):
            began = time.perf_counter()
            assert publisher.post(address, json={"user": user, "data": number}).status_code == 200
            source.wait_for(number + 2)
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[1:])  # the first publish opens a connection


def _left(pair: Pair, user: str) -> float | None:
    """Seconds until the stream of a browser that left counts no more; None: it still does."""
    began = time.monotonic()
    return time.monotonic() - began if becomes(lambda: not connections(pair.one, user), LONGEST_LEAVING) else None


@ways
def test_no_service(kind: Kind, what: str, file: str, record_property: Record) -> None:
    """A page that asks for a stream must be told to come back, by status 200: an EventSource gives up at others."""
    record_property("cell", (kind.name, what))
    with Proxy(kind, file, (free_port(), free_port())) as proxy:
        becomes(lambda: status_of(f"{proxy.url}/readyz") != 404, 20)  # it has read its configuration
        answer = httpx.get(f"{proxy.url}/events", headers={"Accept": "text/event-stream"}, trust_env=False, timeout=60)
    record_property("away", answer.status_code)
    assert answer.status_code == (200 if kind.says_retry and what == "recommended" else answer.status_code)
    if answer.status_code == 200:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "retry:" in answer.text


@pytest.mark.parametrize("kind", [each for each in KINDS if not each.says_retry], ids=lambda kind: kind.name)
def test_no_service_behind_its_nginx(kind: Kind, tmp_path: Path) -> None:
    """Proxies that have no answer of their own pass on that of the service's nginx."""
    http = f"127.0.0.1:{free_port()}"
    words = nginx_command(Settings(data_dir=tmp_path, http=http, app=f"127.0.0.1:{free_port()}"))
    nginx = subprocess.Popen(words, preexec_fn=dies_with_the_tests(signal.SIGTERM), stderr=subprocess.DEVNULL)
    try:
        with Proxy(kind, kind.file, (int(http.rpartition(":")[2]),) * 2) as proxy:
            becomes(lambda: status_of(f"{proxy.url}/events") not in (0, 404), 20)
            accept = {"Accept": "text/event-stream"}
            until(lambda: _says_retry(f"{proxy.url}/events", accept), "an answer that a page comes back after", 20)
            others = becomes(lambda: not _says_retry(f"{proxy.url}/events", accept), NOTICED_SECONDS)
            assert not others, "it answers otherwise once it has seen that no service is ready"
    finally:
        nginx.terminate()
        nginx.wait()


def _says_retry(url: str, headers: dict[str, str]) -> bool:
    answer = httpx.get(url, headers=headers, trust_env=False, timeout=60)
    return answer.status_code == 200 and "retry:" in answer.text
