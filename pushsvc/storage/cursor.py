"""Cursors that clients bring: where each says that it resumes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from pushsvc.errors import Invalid
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.storage.redis.keys import Keys

# Polyfills that cannot set the header write the parameter in the spelling of the DOM, or of the header.
PARAMETERS: Final = ("last_event_id", "lastEventId", "last-event-id")


class Cursor(NamedTuple):
    """The place that a client names. `id` is the last event that it has had; None: it named none. `ours` is False
    where its header is no id of this service: then nothing is known of that reader."""

    id: EventId | None = None
    ours: bool = True

    @property
    def stands(self) -> bool:
        """Whether the client has been here before. One that comes back with 0-0 heard nothing, and begins anew."""
        return self.id is not None and self.id != BEGINNING


def read_cursor(header: str | None, parameters: Sequence[tuple[str, str]], keys: Keys) -> Cursor:
    """Read the browser's `Last-Event-ID` header; else the newest of the parameters, as (name, value). Empty ones count
    as absent. `keys` are those of the partition that the cursor is for.

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
