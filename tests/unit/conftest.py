"""Fixtures of several files here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pushsvc.concurrency.poll import EpollPoll
from pushsvc.delivery.capacity import Capacity
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.subscribers import Connections


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Without a bus; it looks up after each connection."""
    monkeypatch.setattr("pushsvc.delivery.hub.LOOK", 1)
    nothing: Any = SimpleNamespace(request_clock=lambda: None)
    connections = Connections(
        nothing, lambda subscriber: None, heartbeat_seconds=15, retry_seconds=2, send_buffer_bytes=65536, poll=EpollPoll
    )
    return Hub(nothing, connections, nothing, nothing, called=print, capacity=Capacity(10, lambda: 0))
