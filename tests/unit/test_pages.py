"""A page of history holds its room until it is sent."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from flask import Flask, Response

from pushsvc.concurrency import room as rooms
from pushsvc.concurrency.room import Room
from pushsvc.errors import Unavailable
from pushsvc.web.history import _hold_until_sent


def test_room_is_held_until_the_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "WAIT_SECONDS", 0.0)
    app, room, held = Flask("test"), Room(1, 1), ExitStack()
    held.enter_context(room.holding(1, "mallory"))
    with app.test_request_context():
        _hold_until_sent(held)
        answer = app.process_response(Response(b"page"))
    with pytest.raises(Unavailable), room.holding(1, "mallory"):
        pass
    answer.close()
    with room.holding(1, "mallory"):
        pass
