"""Fixtures of several files here."""

from __future__ import annotations

import pytest

from pushsvc.delivery.hub import Hub
from tests.support.inside.delivery import make_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub without a bus, which looks up after each connection."""
    monkeypatch.setattr("pushsvc.delivery.fanout.LOOK", 1)
    return make_hub()
