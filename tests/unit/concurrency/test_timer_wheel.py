"""The wheel of heartbeats."""

from __future__ import annotations

from pushsvc.concurrency.timer_wheel import TimerWheel
from pushsvc.delivery.subscriber import Subscriber
from tests.support.inside.delivery import subscriber


def test_the_wheel_has_each_at_one_place() -> None:
    wheel: TimerWheel[Subscriber] = TimerWheel(0.5)
    (first, _), (second, _), (third, _) = subscriber("a"), subscriber("a"), subscriber("a")
    wheel.schedule(first, 1.0)
    wheel.schedule(second, 0.1)
    wheel.schedule(third, 0.6)
    wheel.schedule(first, 1.5)
    wheel.cancel(third)
    assert [wheel.tick() for _ in range(4)] == [[second], [], [first], []]
