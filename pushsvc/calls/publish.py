"""POST /publish in JSON: one event, or a batch in which each item stands for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pushsvc.auth import Identity
from pushsvc.calls.access.credentials import identify
from pushsvc.calls.answers import Answer, json_answer
from pushsvc.calls.arguments import json_body, read_json
from pushsvc.calls.call import Call
from pushsvc.calls.turn import ClientTurn
from pushsvc.errors import Forbidden, Invalid, TooLarge
from pushsvc.events import exact_json, structure
from pushsvc.events.exact_json import NotJson
from pushsvc.events.items import ItemTooLong, is_array, items_of
from pushsvc.events.publication import Limits
from pushsvc.publishing.publisher import Publisher, need_no_key
from pushsvc.service import Service

_SHORT_BYTES: Final = 2**13  # of a body that waits for no turn
_AT_ONCE_BYTES: Final = 2**17  # of a batch that is parsed in one go, which takes five milliseconds at most


def publish(call: Call) -> Answer:
    """POST /publish: append events to the log. A JSON object is one event; an array is a batch, in which each item
    stands for itself.

    Answers 200: for an event `id` and `duplicate`, or `results` by user if it names `users`; for a batch `results`,
    each as for an event, or with `error`. Refuses: 400 for an event that is wrong, 401 without a good token, 403 where
    that may not publish to a channel, 413 for too large an event or batch, 415 for a body that is not JSON, 429 over
    RATE_PUBLISH, or for a new topic over RATE_TOPICS, 503 while Redis takes none (the same request can be repeated),
    507 where it has no space.
    """
    publisher = publisher_of(call)
    limits, header_key = publisher.limits, call.header("idempotency-key")
    with json_body(call, limits.body_bytes, publisher.identity.owner) as body:
        if len(body) > _SHORT_BYTES:
            ClientTurn(call).begin()
        if is_array(body):
            need_no_key(header_key)
            short = len(body) <= _AT_ONCE_BYTES
            items = read_json(exact_json.loads_items, body, len(body)) if short else _long_batch(call, body, limits)
            return json_answer({"results": publisher.publish_batch(items)})
        if len(body) > limits.item_bytes:
            raise TooLarge(f"The event is {len(body)} bytes of JSON, at most {limits.item_bytes} are taken.")
        item = read_json(exact_json.loads_items, body, limits.item_values)
        return json_answer(publisher.publish(item, header_key))


def _long_batch(call: Call, body: bytes, limits: Limits) -> Iterator[Any]:
    """Read a batch event by event, for as long as its client is there."""
    turn = ClientTurn(call)
    try:
        yield from items_of(body, longest=limits.item_bytes, values=limits.item_values, pause=turn.yield_if_over)
    except NotJson as error:
        raise Invalid(f"The body is not valid JSON: {error}") from error
    except (structure.TooMany, ItemTooLong) as error:
        raise TooLarge(
            f"An event of the batch is over {limits.item_bytes} bytes of JSON, or {limits.item_values} values."
        ) from error


def publisher_of(call: Call) -> Publisher:
    """Make the Publisher of the caller. Raises Unauthorized, or Forbidden if it may publish nothing."""
    identity = identify(call)
    if not identity.publish:  # before anything is read
        raise Forbidden("This token may publish nothing (claim publish).")
    return publisher_for(call.service, identity)


def publisher_for(service: Service, identity: Identity) -> Publisher:
    """Make the Publisher of this identity. New topics of who may publish everything are not counted: that is a backend,
    and may have a topic for each of its orders."""
    settings = service.settings
    rates = service.partition_of(identity.mark).publishes if settings.rate_publish else None
    counted = settings.rate_topics and not identity.admin and "*" not in identity.publish
    topics = service.partition_of(identity.owner).topics.share(identity.owner, 1) if counted else None
    return Publisher(identity, service.log, service.limits, rates, topics)
