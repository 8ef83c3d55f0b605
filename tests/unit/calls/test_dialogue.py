"""The calls of a WebSocket's client are made for the user who opened it."""

from __future__ import annotations

from typing import Any

from gevent.event import AsyncResult
from wsproto.frame_protocol import FrameProtocol

from pushsvc.auth import Identity
from pushsvc.calls.sockets.dialogue import Dialogue
from pushsvc.concurrency.shares import OWNER
from tests.support.inside.delivery import subscriber


def test_a_message_is_its_users() -> None:
    nothing: Any = None
    page, _ = subscriber("user:u")
    owner: AsyncResult[str] = AsyncResult()
    dialogue = Dialogue(nothing, page, lambda _: owner.set(OWNER.get()), most=100)
    assert dialogue.hear(bytes(FrameProtocol(client=True, extensions=[]).send_data("{}")))
    assert owner.get(timeout=10) == Identity(user="u").owner
