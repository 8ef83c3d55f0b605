"""Bytes are held within a bound, and within one of each owner."""

from __future__ import annotations

import pytest

from pushsvc.concurrency import room
from pushsvc.concurrency.room import Room
from pushsvc.errors import Unavailable


def test_a_request_waits_until_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAIT_SECONDS", 0.0)
    held = Room(100, 60)
    with held.holding(60, "a"):
        for size, owner in ((1, "a"), (41, "b")):
            with pytest.raises(Unavailable, match="60 of one token"), held.holding(size, owner):
                pass
        with held.holding(40, "b"):
            pass
    with held.holding(60, "a"):
        pass


def test_what_alone_is_too_large_passes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAIT_SECONDS", 0.0)
    held = Room(100, 60)
    with held.holding(1000, "a"), pytest.raises(Unavailable), held.holding(1, "b"):
        pass


def test_room_is_given_back_by_who_fails() -> None:
    held = Room(100, 60)
    with pytest.raises(ValueError, match="x"), held.holding(60, "a"):
        raise ValueError("x")
    with held.holding(60, "a"):
        pass
