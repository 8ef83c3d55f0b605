"""The wheel of heartbeats."""

from __future__ import annotations

from pushsvc.delivery.timer_wheel import TimerWheel
from tests.support.delivery import subscriber


def test_the_wheel_has_each_at_one_place() -> None:
    wheel = TimerWheel(0.5)
    (first, _), (second, _), (third, _) = subscriber("a"), subscriber("a"), subscriber("a")
    wheel.put(first, 1.0)
    wheel.put(second, 0.1)
    wheel.put(third, 0.6)
    wheel.put(first, 1.5)
    wheel.take(third)
    assert [wheel.turn() for _ in range(4)] == [[second], [], [first], []]
