"""POST /tickets: issue tickets. A ticket opens a stream for a browser's EventSource, which can send no token."""

from __future__ import annotations

import time
from typing import Final

from flask import Blueprint
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import json_object
from pushsvc.errors import Invalid
from pushsvc.events.names import checked_name, checked_topics, user_channel
from pushsvc.storage.tickets.tickets import DEFAULT_TTL, MAX_TTL
from pushsvc.web.http.current import call, service
from pushsvc.web.http.links import link

MOST_BODY_BYTES: Final = 320_000  # fits the largest number of topics, each in its longest form in JSON

blueprint = Blueprint("tickets", __name__)


@blueprint.post("/tickets")
def tickets() -> ResponseReturnValue:
    """POST /tickets: issue a ticket that opens one stream of a user.

    Answers 200 with `ticket`, `expires_in` (seconds), `url` (of the stream) and `cursor` (the id of the newest event).
    Refuses: 400 for a field that is unknown or wrong, 401 without a good token, 403 if the token may not listen to the
    user or a topic, 415 for a body that is not JSON, 429 if the user has too many tickets that nobody
    has used, 503 while Redis is away.
    """
    identity = identify(call())
    svc = service()
    body = json_object(call(), {"user", "topics", "ttl"}, MOST_BODY_BYTES, identity.owner)
    user = checked_name(body.get("user", identity.user), "user")
    topics = checked_topics(body.get("topics", []))
    ttl = body.get("ttl", DEFAULT_TTL)
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 1 <= ttl <= MAX_TTL:
        raise Invalid.field("ttl", f"must be a whole number of seconds from 1 to {MAX_TTL}.")
    identity.need_subscribe([user_channel(user), *topics])
    if identity.expires is not None:  # what is still unspent then ends with the token that it was made with
        ttl = max(1, min(ttl, int(identity.expires - time.time())))
    expires = identity.expires if user == identity.user else None
    partition = svc.partition_of(user)
    clock = partition.log.clock()  # older than anything that the client reads next: see docs/listen.md
    ticket = partition.tickets.issue(user, topics, ttl, expires, clock.now, identity.token)
    url = link(f"/events?ticket={ticket}")
    return {"ticket": ticket, "expires_in": ttl, "url": url, "cursor": str(clock.last)}
