"""Owners take turns, however much one of them asks for."""

from __future__ import annotations

import gevent

from pushsvc.concurrency.shares import OWNER, SharedSlice, Waiting


def test_owners_take_turns() -> None:
    waiting: Waiting[str] = Waiting()
    for item in ("m1", "m2", "m3", "a1", "b1", "b2"):
        waiting.put(item[0], item)
    assert [waiting.take() for _ in range(6)] == ["m1", "a1", "b1", "m2", "b2", "m3"]
    assert not waiting


def test_what_is_held_waits_in_its_order() -> None:
    waiting: Waiting[str] = Waiting()
    for item in ("m1", "m2", "a1"):
        waiting.put(item[0], item)
    first = waiting.take()
    waiting.hold("m", first)
    waiting.put("m", "m3")
    assert waiting.take() == "a1"
    assert not waiting
    waiting.release()
    assert [waiting.take() for _ in range(3)] == ["m1", "m2", "m3"]


def test_one_piece_of_work_runs_in_each_turn_of_the_loop_and_owners_alternate() -> None:
    ran: list[str] = []

    def work(owner: str) -> None:
        OWNER.set(owner)
        turn = SharedSlice(0.0)
        for _ in range(3):
            turn.yield_if_over()
            ran.append(owner)

    def look() -> None:
        while True:
            ran.append("|")
            gevent.sleep(1e-6)  # a turn of the loop

    looking = gevent.spawn(look)
    gevent.joinall([gevent.spawn(work, owner) for owner in ("m", "m", "m", "a")])
    looking.kill()
    pieces = [piece for piece in "".join(ran).split("|") if piece]
    assert max(map(len, pieces)) == 1, ran
    assert "".join(pieces).rindex("a") <= 6, pieces  # three of twelve, though the others are three times as many
