"""Who came is told to the hooks, once the partition that counts them can be written, and is remembered no longer."""

from __future__ import annotations

from typing import Any

import pytest

from pushsvc.attendance.register import Register
from pushsvc.delivery.hub import Hub
from pushsvc.errors import Unavailable
from pushsvc.storage.redis.keys import Keys, place
from tests.support.inside.delivery import make_hub, subscriber


class Store:
    """A partition's Redis, as far as scripts of attendance need it."""

    def __init__(self, number: int) -> None:
        self.keys = Keys(number, 2)
        self.away = False
        self.names: set[bytes] = set()
        self.told: set[bytes] = set()

    def execute_one(self, command: Any) -> Any:
        if self.away:
            raise Unavailable("away", retry_after=1)
        if command[0] == "ZREVRANGE":
            return list(self.names)
        return 0


class Written(Register):
    """A Register whose scripts are a set."""

    def _attend(self, number: int, came: Any, left: Any) -> int:
        store: Any = self._parts[number][1]
        store.execute_one(("EVALSHA",))
        store.names |= {each.encode() for each in came}
        store.told |= {each.encode() for each in came}
        store.names -= {each.encode() for each in left}
        return len(store.names)


TOPICS = [next(f"topic:{n}" for n in range(99) if place(str(n), 2) == number) for number in range(2)]


@pytest.fixture
def hubs() -> list[Hub]:
    return [make_hub(), make_hub()]


def test_newcomers_are_forgotten_by_the_partition_that_has_them(hubs: list[Hub]) -> None:
    """A topic's partition may be another one than its follower's."""
    stores: Any = [Store(0), Store(1)]
    register = Written("w", 1.0)
    for hub, store in zip(hubs, stores, strict=True):
        register.cover(hub, store)
    for number, hub in enumerate(hubs):
        came, _ = subscriber(f"user:{number}", "all", "answers:u", *TOPICS)
        hub.stand(came, over=False)
    stores[0].away = True
    with pytest.raises(Unavailable):
        register._write(register._here())
    assert [hub.newcomers for hub in hubs] == [{"user:0", TOPICS[0]}, {TOPICS[0]}]
    assert stores[1].told == {b"user:1", TOPICS[1].encode()}
    stores[0].away = False
    register._write(register._here())
    assert [hub.newcomers for hub in hubs] == [set(), set()]
    assert stores[0].told == {b"user:0", TOPICS[0].encode()}


def test_a_topic_that_is_followed_briefly_is_told_of(hubs: list[Hub]) -> None:
    hub = hubs[0]
    hub.newcomers = set()
    bus: Any = hub.bus
    bus.subscribe = lambda channels: None
    page, _ = subscriber("user:u", "all")
    hub.subscribers.add(page)
    hub.change_channels(page, ["user:u", "all", "topic:brief"])
    hub.change_channels(page, ["user:u", "all"])
    assert hub.newcomers == {"topic:brief"}
