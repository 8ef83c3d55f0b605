"""POST /publish in JSON: one event, or a batch in which each item stands for itself."""

from __future__ import annotations

from pushsvc.calls.answers import Answer, json_answer
from pushsvc.calls.arguments import json_body, read_json
from pushsvc.calls.call import Call
from pushsvc.calls.credentials import identify
from pushsvc.errors import TooLarge
from pushsvc.events import exact_json
from pushsvc.publishing import Publisher, need_no_key


def publish(call: Call) -> Answer:
    """POST /publish: append events to the log. A JSON object is one event; an array is a batch, in which each item
    stands for itself.

    Answers 200: for an event `id` and `duplicate`, or `results` by user if it names `users`; for a batch `results`,
    each as for an event, or with `error`. Refuses: 400 for an event that is wrong, 401 without a good token, 403 where
    that may not publish to a channel, 413 for too large an event or batch, 415 for a body that is not JSON, 429 over
    RATE_PUBLISH, 503 while Redis takes none (the same request can be repeated), 507 where it has no space.
    """
    publisher = publisher_of(call)
    header_key = call.header("idempotency-key")
    item = read_json(exact_json.loads_items, json_body(call))
    if not isinstance(item, list):
        return json_answer(publisher.publish(item, header_key))
    need_no_key(header_key)
    most = publisher.limits.batch
    if len(item) > most:
        raise TooLarge(f"The batch holds {len(item)} events, at most {most} are taken at once.")
    return json_answer({"results": publisher.publish_batch(item)})


def publisher_of(call: Call) -> Publisher:
    """Make the Publisher of the caller. Raises Unauthorized."""
    identity, service = identify(call), call.service
    rates = service.partition_of(identity.mark).publishes if service.settings.rate_publish else None
    return Publisher(identity, service.log, service.limits, rates)
