"""The way in which a stopping worker spreads its crowd, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pushsvc.concurrency.pacing import LATE_SECONDS, spread


def departures(count: int, seconds: float, held_up: Callable[[int], float] = lambda _: 0.0) -> list[float]:
    """The times at which each goes, if what is done with the n-th takes `held_up(n)` seconds."""
    now, times = 0.0, []

    def clock() -> float:
        return now

    def sleep(pause: float) -> None:
        nonlocal now
        now += pause

    for number in spread(count, seconds, clock, sleep):
        times.append(now)
        now += held_up(number)
    return times


def most_within(times: list[float], seconds: float) -> int:
    return max(sum(start <= time < start + seconds for time in times) for start in times)


@settings(max_examples=30)
@given(st.integers(1, 500), st.floats(0.1, 60))
def test_everybody_goes_and_evenly(count: int, seconds: float) -> None:
    times = departures(count, seconds)
    assert len(times) == count
    assert times[-1] < seconds
    assert all(abs(after - before - seconds / count) < 1e-6 for before, after in pairwise(times))


def test_nobody_is_nothing() -> None:
    assert departures(0, 20) == []


@settings(max_examples=20)
@given(st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.3, 2.0]), min_size=1, max_size=50))
def test_after_being_held_up_it_is_never_much_quicker(pauses: list[float]) -> None:
    count, seconds = 1000, 20.0
    held_up = {number * 20: pause for number, pause in enumerate(pauses)}
    times = departures(count, seconds, lambda number: held_up.get(number, 0.0))
    assert len(times) == count
    assert most_within(times, 1.0) <= 1.5 * count / seconds


def test_what_was_held_up_is_made_up_for() -> None:
    times = departures(1000, 20.0, lambda number: 3.0 if number == 100 else 0.0)
    assert times[-1] < 20 + LATE_SECONDS
