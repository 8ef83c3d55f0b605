"""Pauses between tries."""

from __future__ import annotations

import time

import pytest

from pushsvc.concurrency import backoff
from pushsvc.concurrency.backoff import Backoff, Retries


def test_pauses_double_up_to_the_longest_and_begin_again_after_a_success() -> None:
    growing = Backoff(0.1, 0.5)
    assert [growing.next_pause() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    growing.reset()
    assert growing.next_pause() == 0.1


def test_retries_end_before_their_time_would_be_over() -> None:
    retries, tries = Retries(0.34), 1
    while retries.wait():
        tries += 1
    assert tries == 3, "after 0.05 and 0.1 seconds; the next pause is 0.2"


def test_a_pause_that_would_be_too_long_is_not_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 60.0)
    began = time.monotonic()
    assert not Retries(30).wait()
    assert time.monotonic() - began < 30
