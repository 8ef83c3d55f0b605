"""Cursors that clients send to resume from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pushsvc.errors import Invalid
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.redis.keys import Keys

# Polyfills that cannot set the header send a parameter, named as in the DOM or as the header.
PARAMETERS: Final = ("last_event_id", "lastEventId", "last-event-id")


class Cursor(NamedTuple):
    """A client's cursor. `id`: the last event that it received; None: it sent no cursor. `ours` is False if its header
    holds no id of this service: then nothing is known about that reader."""

    id: EventId | None = None
    ours: bool = True

    @property
    def stands(self) -> bool:
        """Whether the client has received something before. One that resumes from 0-0 has not, and begins anew."""
        return self.id is not None and self.id != BEGINNING


def read_cursor(header: str | None, parameters: Sequence[tuple[str, str]], keys: Keys) -> Cursor:
    """Read the browser's `Last-Event-ID` header, else the newest of the parameters, which are (name, value) pairs.
    Empty values count as absent. `keys`: of the partition that the cursor is for.

    The header wins because an EventSource repeats its URL, with an old parameter, on every reconnect. A browser can
    never change that header, so a bad one is no error; a bad parameter raises Invalid, naming it.
    """
    if header:
        try:
            return Cursor(_parse(header, "Last-Event-ID", keys))
        except Invalid:
            return Cursor(ours=False)
    return Cursor(max((_parse(value, name, keys) for name, value in parameters if value), default=None))


def _parse(text: str, field: str, keys: Keys) -> EventId:
    return EventId.parse(keys.own(text), field)
