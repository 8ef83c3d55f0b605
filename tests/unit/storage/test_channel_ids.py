"""What is remembered of the channels' ids is bounded, also where channels are empty."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pushsvc.events.event import EventId
from pushsvc.storage import channel_ids
from pushsvc.storage.channel_ids import CHANNEL_WEIGHT, FRESH_SECONDS, MOST_CHANNELS, ChannelIds
from pushsvc.storage.clock import Clock
from pushsvc.storage.log import Kept
from pushsvc.storage.redis.epochs import EpochHistory

CLOCK = Clock(EpochHistory(b"0-0"), EventId(9, 0), 0, 0)


class Log:
    keep_events = 1000

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}

    def ids(self, channel: str, after: EventId | None) -> tuple[bool, list[Kept]]:
        begin = 0 if after is None else after.ms
        return False, [Kept(EventId(each, 0), 0) for each in range(begin + 1, self.kept.get(channel, 0) + 1)]


def make() -> tuple[ChannelIds, Any]:
    log: Any = Log()
    return ChannelIds(log), log


def test_empty_channels_are_forgotten_and_stale_ones_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(channel_ids, "time", SimpleNamespace(monotonic=lambda: now))
    ids, _ = make()
    for number in range(MOST_CHANNELS + 5):
        assert ids.count(f"user:{number}", None, CLOCK) == 0
    assert list(ids._known) == [f"user:{number}" for number in range(5, MOST_CHANNELS + 5)]
    assert ids._weight == MOST_CHANNELS * CHANNEL_WEIGHT
    now = FRESH_SECONDS + 1
    ids.count("user:5", None, CLOCK)
    assert list(ids._known) == ["user:5"]
    assert ids._weight == CHANNEL_WEIGHT


def test_ids_are_weighed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_ids, "MOST_IDS", 3 * CHANNEL_WEIGHT + 10)
    ids, log = make()
    for log.kept["a"] in (4, 4, 6):
        assert ids.count("a", None, CLOCK) == log.kept["a"]
    assert ids._weight == CHANNEL_WEIGHT + 6
    log.kept |= {"b": 4, "c": 1}
    counted = [ids.count(name, None, CLOCK) for name in ("b", "c")]
    assert (counted, list(ids._known), ids._weight) == ([4, 1], ["b", "c"], 2 * CHANNEL_WEIGHT + 5)
