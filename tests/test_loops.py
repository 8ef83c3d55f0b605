"""A background loop that fails says so, is not healthy meanwhile, and comes back."""

from __future__ import annotations

import logging

import gevent.event
import pytest

from pushsvc.loops import Loop
from tests.eventsource import DEADLINE


class World(Exception):
    """An error that is to be expected."""


@pytest.mark.parametrize(("error", "traceback"), [(World("gone"), False), (KeyError("a bug"), True), (None, False)])
def test_a_loop_comes_back(caplog: pytest.LogCaptureFixture, error: Exception | None, traceback: bool) -> None:
    came_back = gevent.event.Event()
    healthy_at_start: list[bool] = []

    def body(loop: Loop) -> None:
        healthy_at_start.append(loop.healthy)
        loop.well()
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
