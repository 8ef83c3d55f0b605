"""A ticket's stream in three browser engines, where cookies do not help. All else that browsers do: `make clients`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clients.drivers.browsers import ENGINES, NEEDED
from clients.report.rows import ROWS, World
from clients.site.scene import EVENTS, play
from tests.support import programs


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    running = World(tmp_path_factory.mktemp("world"))
    yield running
    running.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_ticket_on_another_site_survives_three_cuts_with_all_cookies_blocked(world: World, engine: str) -> None:
    """The first comes before anything was heard."""
    for names in NEEDED[engine]:
        if programs.find(names) is None:
            pytest.skip(f"there is no {names[0]} on PATH; `make clients` installs it")
    tab = world.browsers.get(engine, cookies=False).open(f"http://localhost:{world.site.pages.port}/")
    assert tab.run("(document.cookie = 'a=b', document.cookie)") == "", "this browser takes cookies"
    tab.close()
    row = next(row for row in ROWS if row.name == f"{engine}, other site, no cookies, EventSource")
    outcome = play(world, [row], "cut")[row.name]
    assert outcome.heard == EVENTS, outcome.said
