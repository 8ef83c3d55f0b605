"""One column lived through: many clients at once, each as a user of its own, and the fault that meets them all."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Event
from typing import Final

import pytest

from clients.report.rows import WRONG, Listener, Row, World, Wrong
from clients.site.site import FAULTS, Meanwhile, Site
from tests.support.stack import connections

PATIENCE: Final = 30.0  # seconds that those who must hear an event are waited for
EVENTS: Final = ("first ünï 日本 🚀", "second", "third")


@dataclass
class Outcome:
    """The outcome of one client."""

    skipped: str = ""
    heard: tuple[str, ...] = ()
    closed: bool = False
    said: str = ""


def play(world: World, rows: Iterable[Row], column: str) -> dict[str, Outcome]:
    """Play the column, and give the outcomes by the rows' names."""
    outcomes: dict[str, Outcome] = {}
    started: dict[str, tuple[Row, Listener]] = {}
    for row in rows:
        user = re.sub("[^a-z0-9]+", "-", f"{row.name} {column}".lower())
        try:
            started[user] = row, row.start(world, user, column != WRONG)
        except pytest.skip.Exception as skipped:
            outcomes[row.name] = Outcome(skipped=str(skipped))
    try:
        if column == WRONG:
            _refused(world, started)
        elif started:
            _through(world, started, column)
        for row, listener in started.values():
            outcomes[row.name] = Outcome("", tuple(listener.heard()), listener.closed(), listener.said())
    finally:
        for _, listener in started.values():
            listener.close()
    return outcomes


def _through(world: World, started: dict[str, tuple[Row, Listener]], column: str) -> None:
    site, users = world.site, list(started)
    _wait(lambda: all(_there(site, user, row, listener) for user, (row, listener) in started.items()))
    fault = FAULTS.get(column, _nothing)
    ending = [listener for row, listener in started.values() if column in row.ends]
    before = column == "cut"  # of those there are three, and the first comes before anything was heard
    for count, data in enumerate(EVENTS, 1):
        if before or count == 2:
            fault(site, lambda: _wait(lambda: all(listener.closed() for listener in ending)))
        site.publish(users, data)
        _wait_heard([listener for row, listener in started.values() if column not in row.ends], count)


def _there(site: Site, user: str, row: Row, listener: Listener) -> bool:
    """Whether the client is connected and able to come back, or has ended already, which its cell says."""
    return listener.closed() or ((listener.placed() or not row.ticket) and connections(site.stack, user) > 0)


def _nothing(_site: Site, _: Meanwhile) -> None:
    """The column without a fault."""


def _refused(world: World, started: dict[str, tuple[Row, Listener]]) -> None:
    anew = [(user, listener) for user, (row, listener) in started.items() if row.wrong == Wrong.ANEW]
    ended = [listener for row, listener in started.values() if row.wrong == Wrong.ENDS]
    _wait(lambda: all(listener.closed() for listener in ended))
    if anew:
        world.site.publish([user for user, _ in anew], EVENTS[0])
        _wait(lambda: all(listener.heard() for _, listener in anew))


def _wait_heard(listeners: list[Listener], count: int) -> None:
    _wait(lambda: all(len(each.heard()) >= count or each.closed() for each in listeners))


def _wait(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds or patience ends; then the cells say which clients failed."""
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        Event().wait(0.05)
