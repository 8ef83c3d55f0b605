"""Entries of a channel's log, parsed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from pushsvc.errors import WrongType
from pushsvc.events import sse
from pushsvc.events.event import EventId
from pushsvc.storage.redis.refusals import refusal
from pushsvc.storage.redis.scripts import Command

logger = logging.getLogger(__name__)


class Entry(NamedTuple):
    """One event in a channel's log. `prev` is the channel's event before it; `wire` is what a subscriber gets;
    `deadline` (ms) ends its ttl. `channel`: its name."""

    id: EventId
    prev: EventId
    wire: bytes
    deadline: int | None
    channel: str = ""

    def alive(self, now: int) -> bool:
        """Whether the event's ttl has not ended. `now`: Redis's clock in ms."""
        return self.deadline is None or self.deadline > now


class Slice(NamedTuple):
    """A channel's entries in some range, and the id of the last event it ever had (BEGINNING: none known). `whole`: the
    channel had no more entries in the range."""

    entries: list[Entry]
    tail: EventId
    whole: bool = False


def kept(command: Command, answer: Any) -> Any:
    """The answer to a read. A key of another type, which another program wrote, is logged and counts as empty: its
    events are lost, and the other channels are read. Raises Unavailable."""
    if not isinstance(answer, Exception):
        return answer
    error = refusal(answer)
    if not isinstance(error, WrongType):
        raise error
    logger.error("the key %r is of a wrong type; delete it", command[1])
    return None


def read_entry(channel: str, event_id: bytes, pairs: Sequence[bytes]) -> Entry:
    """Parse an entry of a channel's stream: its id, and its fields as a flat list."""
    fields = dict(zip(pairs[::2], pairs[1::2], strict=True))
    deadline = fields.get(b"x")
    return Entry(
        EventId.from_redis(event_id),
        EventId.from_redis(fields[b"p"]),
        sse.with_id(event_id, fields[b"f"]),
        None if deadline is None else int(deadline),
        channel,
    )
