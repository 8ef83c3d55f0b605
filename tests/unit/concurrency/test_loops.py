"""A background loop that fails says so, is not healthy meanwhile, and comes back."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import gevent.event
import pytest

from pushsvc.concurrency.loops import Loop
from pushsvc.delivery.channels import Channels
from pushsvc.delivery.positions import Positions
from pushsvc.errors import Unavailable
from pushsvc.events.event import EventId
from pushsvc.storage.log import EventLog
from tests.support.clients.eventsource import DEADLINE


class World(Exception):
    """An error that is to be expected."""


@pytest.mark.parametrize(("error", "traceback"), [(World("gone"), False), (KeyError("a bug"), True), (None, False)])
def test_a_loop_comes_back(caplog: pytest.LogCaptureFixture, error: Exception | None, traceback: bool) -> None:
    came_back = gevent.event.Event()
    healthy_at_start: list[bool] = []

    def body(loop: Loop) -> None:
        healthy_at_start.append(loop.healthy)
        loop.report_healthy()
        if len(healthy_at_start) == 1:
            if error is not None:
                raise error
            return  # which is as wrong: it should run for ever
        came_back.set()
        gevent.event.Event().wait()

    loop = Loop("test", body, expected=(World,))
    with caplog.at_level(logging.ERROR):
        loop.start()
        assert came_back.wait(DEADLINE)
    assert healthy_at_start == [False, False], "not healthy between the failure and the return"
    assert loop.healthy
    [record] = caplog.records
    assert "loop test" in record.getMessage()
    assert bool(record.exc_info) is traceback
    loop.stop()
    assert not loop.healthy


class RedisIsAway(EventLog):
    """Refuses to move positions `refusals` times."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.written: dict[str, EventId] = {}

    def advance(self, positions: Mapping[str, EventId]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Unavailable("Redis does not answer; try again.", retry_after=1)
        self.written |= positions


def test_positions_that_cannot_be_written_are_tried_again_ever_more_seldom(caplog: pytest.LogCaptureFixture) -> None:
    log = RedisIsAway(refusals=3)
    positions = Positions(log, Channels())
    positions.mark("u", EventId(1, 0))
    with caplog.at_level(logging.ERROR):
        positions.loop.start()
        assert positions.flush(DEADLINE)
    assert log.written == {"u": EventId(1, 0)}
    pauses = [record.getMessage().rpartition("restarting in ")[2] for record in caplog.records]
    assert pauses == ["0.1 s", "0.2 s", "0.4 s"]
    positions.loop.stop()
