"""Events and their ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from pushsvc.errors import Invalid

_ID: Final = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})")
_UINT64_MAX: Final = 2**64 - 1

GAP: Final = "gap"
RESERVED: Final = frozenset({GAP, "cursor", "refused", "heartbeat"})  # only the service may send these names


class EventId(NamedTuple):
    """`<ms>-<seq>`: larger than every earlier id of its partition, so ids order as tuples.

    The clock in Redis draws ids. `ms`: its wall clock in milliseconds, or later.
    """

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str, field: str = "id") -> EventId:
        """Read an id that a client sent; raises Invalid, naming `field`."""
        match = _ID.fullmatch(text)
        if match is None:
            raise Invalid.field(field, "must be an event id such as 1795229804123-0.")
        event_id = cls(int(match[1]), int(match[2]))
        if max(event_id) > _UINT64_MAX:
            raise Invalid.field(field, "is larger than any event id can be.")
        return event_id

    @classmethod
    def from_redis(cls, raw: bytes) -> EventId:
        """Read an id from Redis, without checks."""
        ms, _, seq = raw.partition(b"-")
        return cls(int(ms), int(seq))


BEGINNING: Final = EventId(0, 0)  # before every event


@dataclass(frozen=True, slots=True)
class Event:
    """A checked event that a backend publishes.

    `data` is the text the browser reads as `MessageEvent.data`; `ttl` is in seconds; `key` makes repeats harmless.
    """

    channel: str
    name: str
    data: str
    key: str | None = None
    ttl: int | None = None
