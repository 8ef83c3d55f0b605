"""POST /publish: append one event, or a batch whose items succeed or fail each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pushsvc.auth import Identity
from pushsvc.errors import Invalid, PushError, TooLarge, Unavailable
from pushsvc.events import exact_json
from pushsvc.events.event import Event, Limits, Publication, parse_publication
from pushsvc.storage.log import Receipt
from pushsvc.storage.partitioned_log import Appender, JoinedReceipt
from pushsvc.web.http.arguments import json_body, read_json
from pushsvc.web.http.credentials import identify
from pushsvc.web.http.current import service

Answer = dict[str, Any]

blueprint = Blueprint("publish", __name__)


@blueprint.post("/publish")
def publish() -> ResponseReturnValue:
    """POST /publish: append events to the log. A JSON object is one event; an array is a batch, whose items succeed or
    fail each on its own.

    Answers 200: for an event `id` and `duplicate`, or `results` by user if it names `users`; for a batch `results`,
    each as for an event, or with `error`. Refuses: 400 for an event that is wrong, 401 without a good token, 403 if the
    token may not publish to a channel, 413 for too large an event or batch, 415 for a body that is not JSON, 503 while
    Redis takes no events (the same request can be repeated), 507 if Redis has no space left.
    """
    identity = identify()
    body = json_body()
    svc = service()
    return _publish(body, request.headers.get("Idempotency-Key"), identity, svc.log, svc.limits)


def _publish(body: bytes, header_key: str | None, identity: Identity, log: Appender, limits: Limits) -> Answer:
    """Publish a JSON body, and give the answer. An object is one event, whose refusal is raised; an array is a
    batch."""
    item = read_json(exact_json.loads_items, body)
    if not isinstance(item, list):
        publication = parse_publication(item, limits, header_key)
        identity.need_publish(event.channel for event in publication.events)
        receipts = _stored(log, publication.events)
        if publication.users is None and isinstance(receipts[0], PushError):
            raise receipts[0]
        return _answer(publication, receipts)
    if header_key is not None:
        raise Invalid.field("Idempotency-Key", "goes with a single event; in a batch each event has its own key.")
    if len(item) > limits.batch:
        raise TooLarge(f"The batch holds {len(item)} events, at most {limits.batch} are taken at once.")
    return {"results": _publish_each(item, identity, log, limits)}


def _publish_each(items: Sequence[Any], identity: Identity, log: Appender, limits: Limits) -> list[Answer]:
    """Publish the items of a batch in one round trip, and give their answers in order. A bad item does not affect the
    others. Raises TooLarge, or Unavailable if Redis takes no events."""
    checked = [_checked(item, identity, limits) for item in items]
    good = [item for item in checked if isinstance(item, Publication)]
    count = sum(len(publication.events) for publication in good)
    if count > limits.batch:  # an event is stored once for each of its `users`: a small request could make a million
        raise TooLarge(f"The batch makes {count} events, at most {limits.batch} are taken at once.")
    receipts = iter(_stored(log, [event for publication in good for event in publication.events]))
    return [
        _answer(item, list(islice(receipts, len(item.events)))) if isinstance(item, Publication) else _error(item)
        for item in checked
    ]


def _stored(log: Appender, events: Sequence[Event]) -> Sequence[Receipt | JoinedReceipt | PushError]:
    """Store the events, and give a receipt or an error for each. Raises Unavailable if Redis took none of them: then
    the same request can be repeated."""
    answers = log.append(events) if events else []
    for error in answers[:1]:
        if isinstance(error, Unavailable) and all(isinstance(answer, Unavailable) for answer in answers):
            raise error
    return answers


def _checked(item: Any, identity: Identity, limits: Limits) -> Publication | PushError:
    try:
        publication = parse_publication(item, limits)
        identity.need_publish(event.channel for event in publication.events)
        return publication
    except PushError as error:
        return error


def _answer(publication: Publication, receipts: Sequence[Receipt | JoinedReceipt | PushError]) -> Answer:
    answers = [
        _error(receipt) if isinstance(receipt, PushError) else {"id": str(receipt.id), "duplicate": receipt.duplicate}
        for receipt in receipts
    ]
    if publication.users is None:
        return answers[0]
    pairs = zip(publication.users, answers, strict=True)
    return {"results": [{"user": user, **answer} for user, answer in pairs]}


def _error(error: PushError) -> Answer:
    return {"error": error.problem()}
