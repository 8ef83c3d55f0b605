"""The throttle lets so many through at each tick."""

from __future__ import annotations

import gevent

from pushsvc.concurrency.throttle import TickThrottle


def test_a_turnstile_lets_a_crowd_through_bit_by_bit_and_in_order() -> None:
    turnstile, through = TickThrottle(3), []

    def walk(number: int) -> None:
        turnstile.wait()
        through.append(number)

    crowd = [gevent.spawn(walk, number) for number in range(20)]
    gevent.sleep(0)
    assert len(through) <= 6
    gevent.joinall(crowd, timeout=10)
    assert through == list(range(20))
