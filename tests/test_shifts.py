"""Who waits for whom when gunicorn's workers are replaced."""

from __future__ import annotations

import os

from pushsvc.shifts import Shifts


def test_a_shift_waits_for_the_next_and_for_no_other() -> None:
    shifts, settings, others = Shifts(), object(), object()
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
    shifts = Shifts()
    first, second = shifts.call(object()), shifts.call(object())
    assert shifts.awaits_next(first)
    child = os.fork()
    if child == 0:
        shifts.begin(second)
        os._exit(0)
    os.waitpid(child, 0)
    assert not shifts.awaits_next(first)
