"""Turns: few at a time, one of each owner, in the order of asking."""

from __future__ import annotations

import contextlib

import gevent

from pushsvc.concurrency.turns import Turn, Turns


def turn(turns: Turns, owner: str) -> Turn:
    return turns.of(owner, contextlib.nullcontext)


def test_few_at_a_time_and_one_of_each_owner() -> None:
    turns = Turns(2)
    first, again, second, third = (turn(turns, owner) for owner in ("a", "a", "b", "c"))
    assert first.take(1)
    assert first.take(0)
    assert not again.take(0.01)
    assert second.take(1)
    waits = [gevent.spawn(each.take, 10) for each in (again, third)]
    gevent.sleep(0)
    second.leave()
    gevent.sleep(0)
    gevent.sleep(0)
    assert waits[1].value is True, "another owner's comes before a second one of the same"
    assert not waits[0].ready()
    first.leave()
    first.leave()
    waits[0].join(5)
    assert waits[0].value is True


def test_who_is_killed_while_waiting_holds_nobody_up() -> None:
    turns = Turns(1)
    first, second, third = (turn(turns, owner) for owner in "abc")
    assert first.take(1)
    waiting = gevent.spawn(second.take, 10)
    gevent.sleep(0)
    waiting.kill()
    first.leave()
    assert third.take(1)
