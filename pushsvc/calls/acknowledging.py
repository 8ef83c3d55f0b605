"""Moves a user's position: how far the user has read."""

from __future__ import annotations

from pushsvc.errors import Invalid
from pushsvc.events.event import EventId
from pushsvc.partition import Partition


def acknowledge(partition: Partition, user: str, given: object) -> None:
    """Move the position up to an event id that a client sent; an older one changes nothing. `partition`: the user's.
    Raises Invalid, also for an id ahead of every event, or Unavailable."""
    if not isinstance(given, str):
        raise Invalid.field("id", "must be an event id such as 1795229804123-0.")
    event_id = EventId.parse(partition.keys.own(given))
    if event_id > partition.log.clock().last:  # such a position would count future events as read
        raise Invalid.field("id", "is ahead of every event there is.")
    partition.log.advance({user: event_id})
