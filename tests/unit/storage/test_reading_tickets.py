"""Reading tickets: the URL of an answer opens it, for a while."""

from __future__ import annotations

import time

import pytest
import redis

from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.tickets.tickets import READING_SECONDS, Tickets, reading_ticket

SECRET, OTHER = "a-test-key-and-nothing-but-a-test-key", "another-test-key-and-nothing-but-a-test-key"


def tickets(*secrets: str) -> Tickets:
    return Tickets(RedisClient(redis.Redis()), secrets or (SECRET,), 0.0, 1)


def never() -> float:
    pytest.fail("it need not be known when the answer began")


def test_it_opens_one_answer_until_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tickets().reading("gen_1")
    assert tickets().opens(made, "gen_1", never)
    assert tickets(OTHER, SECRET).opens(made, "gen_1", never), "the secret is being changed"
    assert not tickets(OTHER).opens(made, "gen_1", never)
    assert not tickets().opens(made, "gen_2", never)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + READING_SECONDS + 1)
    assert not tickets().opens(made, "gen_1", never)


def test_its_end_cannot_be_moved() -> None:
    end, _, mark = tickets().reading("gen_1").partition(".")
    for forged in (
        f"{int(end) + 1}.{mark}",
        mark,
        f".{mark}",
        f"9{end}.{mark}",
        f"{end}",
        "",
        ".",
        "\udcff.x",
        "²." + mark,
    ):
        assert not tickets().opens(forged, "gen_1", time.time)


def test_one_that_an_earlier_version_made() -> None:
    store = tickets()
    old = reading_ticket("gen_1", store._key, None)
    assert store.opens(old, "gen_1", time.time)
    assert not store.opens(old, "gen_1", lambda: time.time() - READING_SECONDS - 1)
