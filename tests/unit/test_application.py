"""The wiring of the application, without a Redis."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushsvc import create_app
from pushsvc.config import Settings
from pushsvc.service import Service


def test_the_service_is_started_with_the_first_request_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Service] = []
    monkeypatch.setattr(Service, "start", lambda service: started.append(service))
    app = create_app(Settings(data_dir=tmp_path, redis_url="redis://127.0.0.1:1"))  # where nothing is
    assert not started
    client = app.test_client()
    for path in ("/healthz", "/healthz", "/nothing"):
        client.get(path)
    assert len(started) == 1
