"""The queue of a connection that keeps its greenlet: its end, and when it counts as stuck."""

from __future__ import annotations

import time

from pushsvc.delivery.endings import SLOW_SECONDS, Reason
from pushsvc.delivery.hub import Hub
from pushsvc.delivery.transports.queued import REPLAY_SECONDS, QueuedTransport
from pushsvc.events.encoded import EncodedBatch
from tests.support.inside.delivery import live, subscriber


def test_one_that_ends_during_its_replay_gets_its_farewell(hub: Hub) -> None:
    """A queue's own greenlet writes it; being up to date must not cut the connection before."""
    who, _ = subscriber("a")
    who.transport = transport = QueuedTransport(65536)
    hub.subscribers.add(who)
    hub.lifetimes.end(who, Reason.DRAINING)
    hub.lifetimes.caught_up(who, sent=True)
    assert transport.take(wait=False)[0].startswith(b"retry: ")
    assert len(hub.subscribers) == 1, "until the request ends"


def test_one_that_takes_nothing_is_stuck_when_more_waits_for_it() -> None:
    """A connection too slow for live events reads on from the log, so that none of its events finds the queue full."""
    transport, event = QueuedTransport(4), EncodedBatch.of(live(1))
    began = time.monotonic()
    late = began + 2 * SLOW_SECONDS
    assert transport.send(event)
    transport.take(wait=False)
    with transport.writing():
        assert not transport.is_stalled(late, behind=False, patience=SLOW_SECONDS), "nothing more waits for it"
        assert not transport.is_stalled(late, behind=True, patience=SLOW_SECONDS), "it may be a poor line"
        assert transport.is_stalled(began + 2 * REPLAY_SECONDS, behind=True, patience=SLOW_SECONDS)
        assert [transport.send(event) for _ in range(3)] == [True, True, False]
        assert transport.is_stalled(late, behind=True, patience=SLOW_SECONDS)
    transport.take(wait=False)
    assert not transport.is_stalled(late, behind=True, patience=SLOW_SECONDS), "no write hangs"
    with transport.writing():  # a page
        assert not transport.is_stalled(began + SLOW_SECONDS / 2, behind=True, patience=SLOW_SECONDS)
        assert transport.is_stalled(late, behind=True, patience=SLOW_SECONDS)
    assert transport.send(event), "it has caught up"
    with transport.writing():
        assert not transport.is_stalled(late, behind=False, patience=SLOW_SECONDS)
        transport.finish(b"farewell", whole=False)
        assert transport.is_stalled(late, behind=False, patience=SLOW_SECONDS)
