"""The order in which gunicorn's workers are replaced: which of them wait for others."""

from __future__ import annotations

import os
import signal

import pytest
from gunicorn.workers.ggevent import GeventWorker

from pushsvc.server.reload import ReloadBarrier
from pushsvc.server.worker import PushWorker


def test_a_shift_waits_for_the_next_and_for_no_other() -> None:
    shifts, settings, others = ReloadBarrier(), object(), object()
    first = shifts.call(settings)
    assert not shifts.awaits_next(first), "a stop before the start: nobody comes"
    shifts.begin(first)
    assert shifts.call(settings) == first, "one that takes the place of a worker that died"
    assert not shifts.awaits_next(first), "a stop is no reload"
    second = shifts.call(others)
    assert shifts.awaits_next(first)
    assert not shifts.awaits_next(second)
    shifts.begin(first)
    assert shifts.awaits_next(first), "another of its own"
    shifts.begin(second)
    assert not shifts.awaits_next(first)
    shifts.begin(first)
    assert not shifts.awaits_next(first), "nothing turns back"


def test_what_a_worker_says_its_siblings_know() -> None:
    shifts = ReloadBarrier()
    first, second = shifts.call(object()), shifts.call(object())
    assert shifts.awaits_next(first)
    child = os.fork()
    if child == 0:
        shifts.begin(second)
        os._exit(0)
    os.waitpid(child, 0)
    assert not shifts.awaits_next(first)


def test_a_worker_heeds_a_stop_before_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    heeded = []
    monkeypatch.setattr(GeventWorker, "init_process", lambda _: heeded.append(signal.getsignal(signal.SIGTERM)))
    worker = PushWorker.__new__(PushWorker)
    before = signal.getsignal(signal.SIGTERM)
    try:
        worker.init_process()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heeded == [worker.handle_exit]
