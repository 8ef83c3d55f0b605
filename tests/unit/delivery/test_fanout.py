"""Announcements become batches: whose they are, in one order, and where a chain is torn."""

from __future__ import annotations

import pytest

from pushsvc.delivery.channels import Channels
from pushsvc.delivery.fanout import plan, runs
from pushsvc.delivery.subscriber import Subscriber
from tests.support.inside.delivery import at, subscriber


@pytest.fixture
def channels() -> Channels:
    """Descriptors 1 and 2 follow a, 2 and 3 follow b, all on the fast path."""
    found: dict[int, Subscriber] = {}
    result = Channels()
    result.epoch = b"1-0"
    for fd, names in {1: "a", 2: "ab", 3: "b"}.items():
        found[fd], _ = subscriber(*names)
        result.follow(found[fd])
        result.to_fast_path(found[fd], fd)
    result.prove(["a", "b"], at(0))
    return result


def announcement(channel: str, number: int, prev: int, epoch: str = "1-0") -> tuple[str, bytes]:
    return channel, f"{at(number)} {at(prev)} {epoch} data: {number}\n\n".encode()


def sent(channels: Channels, *batch: tuple[str, bytes]) -> dict[int, list[str]]:
    found, torn = runs(batch, channels)
    assert not torn
    return {fd: [str(event.id.seq) for event in batch.events] for batch, fds in plan(found) for fd in fds}


def test_events_of_several_channels_leave_in_one_order(channels: Channels) -> None:
    batch = [announcement("a", 1, 0), announcement("b", 2, 0), announcement("a", 3, 1), announcement("c", 4, 0)]
    assert sent(channels, *batch) == {1: ["1", "3"], 2: ["1", "2", "3"], 3: ["2"]}
    assert sent(channels, announcement("a", 5, 3), announcement("a", 6, 5)) == {1: ["5", "6"], 2: ["5", "6"]}


def test_a_torn_chain_is_said_with_what_was_whole(channels: Channels) -> None:
    assert runs([announcement("a", 1, 0), announcement("a", 4, 3), announcement("b", 5, 0)], channels)[1] == {
        "a": at(1)
    }
    assert runs([announcement("a", 6, 4)], channels)[1] == {}, "once is enough"


def test_what_a_replaced_master_announces_is_not_sent(channels: Channels) -> None:
    runs([announcement("a", 1, 0)], channels)
    assert runs([announcement("a", 2, 1, epoch="0-5")], channels) == ([], {"a": at(1)})
    assert sent(channels, announcement("a", 3, 1)) == {1: ["3"], 2: ["3"]}, "and the chain goes on"
