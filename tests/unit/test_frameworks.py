"""The parts for Django and FastAPI that need no service."""

from __future__ import annotations

from types import SimpleNamespace

import django
import pytest
from django.conf import settings
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient

from pushsvc.client import QueueFull
from pushsvc.contrib import django as contrib
from pushsvc.contrib.fastapi import Push


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The data of the events that a publisher refused, as its queue is full."""
    asked: list[object] = []

    def enqueue(data: object, **_: object) -> None:
        asked.append(data)
        raise QueueFull(1)

    if not settings.configured:
        memory = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        settings.configure(DATABASES={"default": memory})
        django.setup()
    monkeypatch.setattr(contrib, "publisher", lambda: SimpleNamespace(enqueue=enqueue))
    return asked


def test_a_full_queue_fails_no_commit(full: list[object]) -> None:
    from django.db import transaction

    with transaction.atomic():
        contrib.publish_on_commit({"id": 1}, user="alice")
    assert full == [{"id": 1}]


def test_a_mistake_is_told_before_the_commit(full: list[object]) -> None:
    with pytest.raises(ValueError, match="exactly one of"):
        contrib.publish_on_commit("data")
    assert full == []


def test_the_script_of_fastapi_knows_where_its_router_is() -> None:
    push = Push("http://push.example.com", "token", user=lambda: "alice")
    site, api = FastAPI(), APIRouter(prefix="/api")
    api.include_router(push.router, prefix="/v1")
    site.include_router(api)

    @site.get("/page")
    def page(request: Request) -> str:
        return push.script("alice", request=request)

    assert "/shop/api/v1/push/ticket" in TestClient(site, root_path="/shop").get("/page").text
    assert '"/push/ticket"' in push.script("alice")
