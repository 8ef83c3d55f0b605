"""A subscriber that joins waits for a clock that comes on the subscription."""

from __future__ import annotations

import gevent

from pushsvc.delivery.subscriber import CatchUpState
from tests.support.inside.delivery import make_hub
from tests.support.inside.lives import Known, at


def test_a_join_waits_for_a_clock_of_the_subscription() -> None:
    """The present clock of the log does not do: what is announced before Redis confirms would be missed."""
    hub, state = make_hub(Known(b"10-0", 15)), CatchUpState()
    joining = gevent.spawn(hub.catch_up.sync, state, 10)
    gevent.sleep(0)
    assert not joining.ready()
    assert state.clock is None
    _, answered = hub.catch_up.probe()
    answered(None)
    assert joining.get(timeout=10)
    assert state.clock is not None
    assert state.clock.last == at(15)
