"""A connection works for the owner of its present request alone."""

from __future__ import annotations

from typing import Any

import pytest

from pushsvc.concurrency.shares import OWNER
from pushsvc.server.httpworker import HttpWorker
from pushsvc.server.wire.connection import Idle


class Left:
    """A connection on which no other request comes."""

    owner: str | None = None

    def await_request(self) -> None:
        self.owner = OWNER.get()
        raise Idle


def test_no_owner_outlives_its_request() -> None:
    worker, connection = HttpWorker.__new__(HttpWorker), Left()
    worker._idle = {}
    before: Any = OWNER.set("user:of-the-last-request")
    try:
        with pytest.raises(Idle):
            worker._serve_next(None, connection)  # type: ignore[arg-type]
    finally:
        OWNER.reset(before)
    assert connection.owner == ""
