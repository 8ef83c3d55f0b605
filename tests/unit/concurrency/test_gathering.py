"""What comes often is read together; nothing is left lying, and what comes alone is not held back."""

from __future__ import annotations

import os
import sys
import time

import gevent
import pytest
from gevent.event import Event

from pushsvc.concurrency import gathering
from pushsvc.concurrency.gathering import COUNT_SECONDS, GATHER_SECONDS, WORTH, Arrivals, GatheringPoll

DEADLINE = 20.0  # seconds


def test_only_many_arrivals_are_worth_a_wait() -> None:
    arrivals, second = Arrivals(), int(1 / COUNT_SECONDS)
    assert not arrivals.add(1, 100.0)  # after a long silence
    enough = WORTH / GATHER_SECONDS / second
    assert not arrivals.add(int(enough) - 2, 100.0 + COUNT_SECONDS / 2)
    assert not arrivals.add(0, 100.001 + COUNT_SECONDS)
    assert not arrivals.many
    assert arrivals.add(int(enough) + 10, 100.002 + 2 * COUNT_SECONDS)
    assert arrivals.many
    assert arrivals.add(0, 100.003 + 3 * COUNT_SECONDS)
    assert not arrivals.many


@pytest.mark.skipif(sys.platform != "linux", reason="epoll and timerfd are Linux's")
def test_nothing_is_left_lying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "WORTH", 0.01)  # so that a slow machine counts as fast
    read, write = os.pipe()
    heard, arrived = bytearray(), Event()

    def ready(fd: int, _: bool) -> None:
        heard.extend(os.read(fd, 1))
        arrived.set()

    poll = GatheringPoll(ready)
    poll.add(read)
    deadline, said, gathered = time.monotonic() + DEADLINE, 0, False
    while not (gathered and not poll._arrivals.many):  # it gathers, and after a silence no more
        assert time.monotonic() < deadline
        if gathered:
            gevent.sleep(0.001)
            continue
        arrived.clear()
        os.write(write, b"x")
        said += 1
        assert arrived.wait(DEADLINE)
        gathered = poll._arrivals.many
    arrived.clear()
    os.write(write, b"x")
    assert arrived.wait(DEADLINE)
    assert len(heard) == said + 1
    poll.remove(read)
    os.close(read)
    os.close(write)
