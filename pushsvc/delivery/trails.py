"""Log lines by which a person follows an event to those who hear it, and a stream from its beginning to its end. They
are written where PUSHSVC_LOG_EVENTS or PUSHSVC_LOG_REQUESTS asks for them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pushsvc.events.encoded import EncodedEvent
from pushsvc.events.event import EventId
from pushsvc.telemetry.logs import EVENTS, REQUESTS, tell

if TYPE_CHECKING:
    from pushsvc.delivery.subscriber import Subscriber
    from pushsvc.storage.entries import Entry

MOST_NAMED: Final = 100  # connections in one line; of more only the number is told


def wanted() -> bool:
    """Whether deliveries are logged."""
    return EVENTS.isEnabledFor(logging.INFO)


def receiving(events: Sequence[EncodedEvent], followers: Sequence[Subscriber]) -> Iterator[dict[str, Any]]:
    """The record of a delivery, before it: of each event, which connections are about to get it. Those that catch up
    get it later, or read it from the log."""
    for event in events:
        getting = [each for each in followers if _gets(each, event.id)]
        if getting:
            requests = [each.request.id for each in getting[:MOST_NAMED] if each.request is not None]
            yield _told(event) | {"connections": len(getting), "requests": requests}


def _gets(subscriber: Subscriber, event_id: EventId) -> bool:
    live = subscriber.catching is None and subscriber.reason is None
    return live and (subscriber.on_fast_path or subscriber.last < event_id)


def _told(event: EncodedEvent | Entry) -> dict[str, Any]:
    return {"event_id": str(event.id), "channel": event.channel}


def delivered(lines: Iterable[dict[str, Any]]) -> None:
    """Tell of events that were handed to the kernel, or wait in the buffers of slow readers."""
    for line in lines:
        tell(EVENTS, "delivered", **line)


def delivered_late(subscriber: Subscriber, events: Sequence[EncodedEvent | Entry]) -> None:
    """Tell of events that one connection got from the log, or that were held for it meanwhile."""
    if events and wanted() and not subscriber.kind.finite:
        name = None if subscriber.request is None else subscriber.request.id
        for event in events:
            tell(EVENTS, "delivered", **_told(event), late=True, connections=1, requests=[name] if name else [])


def began(subscriber: Subscriber) -> None:
    """Tell of a stream that begins."""
    if REQUESTS.isEnabledFor(logging.INFO):
        tell(
            REQUESTS,
            "stream began",
            user=subscriber.owner,
            channels=list(subscriber.channels),
            after=str(subscriber.last),
        )


def ended(subscriber: Subscriber) -> None:
    """Tell of a stream that has ended, and why."""
    if REQUESTS.isEnabledFor(logging.INFO) and subscriber.request is not None:
        reason = "the response ended" if subscriber.reason is None else subscriber.reason.value
        tell(REQUESTS, "stream ended", user=subscriber.owner, reason=reason, request_id=subscriber.request.id)
