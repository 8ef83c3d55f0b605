"""POST /publish: one event, a batch in which each item stands for itself, or a stream of events."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pushsvc.errors import TooLarge
from pushsvc.events import exact_json
from pushsvc.publishing import Answer, Publisher, need_no_key
from pushsvc.web.http.arguments import json_body, read_json
from pushsvc.web.http.credentials import identify
from pushsvc.web.http.current import service
from pushsvc.web.publish_stream import NDJSON, publish_stream

blueprint = Blueprint("publish", __name__)


@blueprint.post("/publish")
def publish() -> ResponseReturnValue:
    """POST /publish: append events to the log. A JSON object is one event; an array is a batch, in which each item
    stands for itself; application/x-ndjson is a stream of any length, an event a line.

    Answers 200: for an event `id` and `duplicate`, or `results` by user if it names `users`; for a batch `results`,
    each as for an event, or with `error`; for a stream a line each, written while the body is still coming in.
    Refuses: 400 for an event that is wrong, 401 without a good token, 403 where that may not publish to a channel, 413
    for too large an event or batch, 415 for a body that is not JSON, 503 while Redis takes none (the same request can
    be repeated), 507 where it has no space.
    """
    identity = identify()
    svc = service()
    publisher = Publisher(identity, svc.log, svc.limits)
    header_key = request.headers.get("Idempotency-Key")
    if request.mimetype == NDJSON:
        need_no_key(header_key)
        return publish_stream(publisher, identity, svc.capacity)
    return _publish(json_body(), header_key, publisher)


def _publish(body: bytes, header_key: str | None, publisher: Publisher) -> Answer:
    """Answer a JSON body: an object is one event, whose refusal is raised; an array is a batch."""
    item = read_json(exact_json.loads_items, body)
    if not isinstance(item, list):
        return publisher.publish(item, header_key)
    need_no_key(header_key)
    most = publisher.limits.batch
    if len(item) > most:
        raise TooLarge(f"The batch holds {len(item)} events, at most {most} are taken at once.")
    return {"results": publisher.publish_batch(item)}
