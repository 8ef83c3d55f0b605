"""The things that the service gives: events, receipts, tickets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from pushsvc.client.errors import PublishError


class Event(NamedTuple):
    """An event that was heard. `id` is opaque, and rises; `data` is text."""

    id: str
    name: str
    data: str

    def json(self) -> Any:
        """The data as JSON. Raises ValueError."""
        return json.loads(self.data)


class Gap(NamedTuple):
    """Events that are lost to this listener. `requested`: the cursor it came with; None: none of this service.
    `oldest`: the oldest event that is kept, if there is one. `reason`: trimmed, expired or reset."""

    requested: str | None
    oldest: str | None
    reason: str


class Receipt(NamedTuple):
    """An event that is kept. `duplicate`: its key was used before, and nothing was delivered. `users`: of an event for
    several users, what became of each; `id` is then that of the last one."""

    id: str
    duplicate: bool
    users: Mapping[str, Receipt | PublishError] = {}


class Ticket(NamedTuple):
    """A ticket, with which one browser may open `url` once. `expires_in`: seconds to use it in. `cursor`: the newest
    id when it was made. The URL is relative where the service does not know its PUBLIC_URL."""

    ticket: str
    url: str
    expires_in: int
    cursor: str
