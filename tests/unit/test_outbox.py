"""What the relay does with its rows where whole requests are refused, and beside another relay."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pushsvc.client import Publisher
from pushsvc.contrib.outbox import relay, row
from pushsvc.contrib.outbox.relay import Later, Relay
from pushsvc.contrib.outbox.store import Row, Sqlite
from tests.support.clients.scripted import Say, html, problem, scripted


def outbox(path: Path, rows: int) -> Sqlite:
    store = Sqlite(str(path / "app.db"))
    store.prepare()
    with sqlite3.connect(path / "app.db") as connection:
        for number in range(rows):
            connection.execute("INSERT INTO pushsvc_outbox (item) VALUES (?)", [row(number, user="a")])
    return store


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("answer", [html(200), html(400), html(404), problem(401), problem(403), problem(404)])
def test_a_refusal_of_the_request_is_no_row_s(tmp_path: Path, answer: Say, rows: int) -> None:
    store = outbox(tmp_path, rows)
    with scripted(answer) as service, Publisher(service.url, "t") as push:
        with pytest.raises(Later):
            Relay(store, push).step()
        assert len(store.pending(9)) == rows
        service.answers[:] = [Say()]
        Relay(store, push).step()
    assert store.pending(9) == []
    store.close()


@pytest.mark.parametrize("refusal", [html(413), problem(413)])
def test_of_a_request_that_is_too_large_one_row_is_refused(tmp_path: Path, refusal: Say) -> None:
    store = outbox(tmp_path, 2)
    with scripted(refusal, Say(), refusal) as service, Publisher(service.url, "t") as push:
        Relay(store, push).step()
    store.close()
    with sqlite3.connect(tmp_path / "app.db") as connection:
        [(left, error)] = connection.execute("SELECT id, error FROM pushsvc_outbox")
    assert (left, bool(error)) == (2, True)


class Beside(Sqlite):
    """The table of a relay beside one that leads, and empties it."""

    tries = 0

    def leads(self) -> bool:
        self.tries += 1
        return self.tries > 9  # then the other one has ended

    def pending(self, most: int) -> Sequence[Row]:
        return [Row(1, "{}")] if self.tries < 2 else []


def test_draining_ends_when_another_relay_has_emptied_the_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "STANDBY_SECONDS", 0.0)
    store = Beside("unused")
    with Publisher("http://a", "t") as push:
        Relay(store, push).run(threading.Event(), drain=True)
    assert store.tries == 2
