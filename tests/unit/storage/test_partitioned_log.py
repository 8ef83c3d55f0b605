"""What is published to all partitions is published for its owner in each."""

from __future__ import annotations

from typing import Any

from pushsvc.concurrency.shares import OWNER
from pushsvc.events.event import Event, EventId
from pushsvc.storage.log import Receipt
from pushsvc.storage.partitioned_log import PartitionedLog


class Log:
    owner: str | None = None

    def append(self, events: list[Event], along: object) -> list[Receipt]:
        self.owner = OWNER.get()
        return [Receipt(EventId(1, 0), False) for _ in events]


def test_each_partition_works_for_the_publisher() -> None:
    logs: Any = [Log(), Log()]
    token = OWNER.set("user:mallory")
    try:
        PartitionedLog(logs).append([Event("all", "message", "data")])
    finally:
        OWNER.reset(token)
    assert [log.owner for log in logs] == ["user:mallory"] * 2
