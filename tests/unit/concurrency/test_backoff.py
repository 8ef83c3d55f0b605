"""Pauses between tries."""

from __future__ import annotations

import time

from pushsvc.concurrency.backoff import Backoff, Retries


def test_pauses_double_up_to_the_longest_and_begin_again_after_a_success() -> None:
    backoff = Backoff(0.1, 0.5)
    assert [backoff.next_pause() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert backoff.next_pause() == 0.1


def test_retries_end_before_their_time_would_be_over() -> None:
    began = time.monotonic()
    retries, tries = Retries(0.2), 1
    while retries.wait():
        tries += 1
    assert tries == 3, "after 0.05 and 0.1 seconds; the next pause is 0.2"
    assert 0.15 <= time.monotonic() - began < 0.35
