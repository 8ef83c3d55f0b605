"""A subscriber gets each event once, also one that is announced while it catches up."""

from __future__ import annotations

from pushsvc.delivery.subscriber import HELD_EVENTS
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import BEGINNING
from tests.support.inside.delivery import CLOCK, at, live, subscriber


def test_what_is_announced_during_a_replay_is_sent_once_after_it() -> None:
    who, transport = subscriber("a")
    assert who.catching is not None
    who.offer(EncodedBatch.of(live(4)), 0)  # before the clock: the log has it
    who.catching.clock = CLOCK
    who.offer(EncodedBatch.of(live(5, 6)), 0)
    who.offer(EncodedBatch.of(live(7)), 0)
    assert transport.wires == []
    assert who.caught_up(at(5), 0)
    assert transport.wires == [b"6;7;"]
    who.offer(EncodedBatch.of(live(7, 8)), 0)
    assert transport.wires == [b"6;7;", b"8;"]


def test_more_than_may_be_held_is_read_instead() -> None:
    who, transport = subscriber("a")
    assert who.catching is not None
    who.catching.clock = CLOCK
    for number in range(10, 11 + HELD_EVENTS):
        who.offer(EncodedBatch.of(live(number)), 0)
    assert who.caught_up(at(5), 0)
    assert transport.wires == []
    assert who.catching is not None, "not live: another clock is due"


def test_what_finds_no_room_was_not_had() -> None:
    who, transport = subscriber("a")
    who.go_live()
    transport.room = False
    assert not who.offer(EncodedBatch.of(live(1)), 0)
    assert who.last == BEGINNING
