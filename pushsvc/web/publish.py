"""POST /publish, for any server: JSON, or a stream of events."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from pushsvc.calls.publish import publish, publisher_of
from pushsvc.publishing.publisher import need_no_key
from pushsvc.web.http.current import call, respond
from pushsvc.web.publish_stream import NDJSON, publish_stream

blueprint = Blueprint("publish", __name__)


@blueprint.post("/publish")
def post_publish() -> ResponseReturnValue:
    """POST /publish: see `calls.publish`; application/x-ndjson is a stream of any length, an event a line, whose answer
    has a line for each, written while the body is still coming in."""
    current = call()
    if current.media_type != NDJSON:
        return respond(publish(current))
    publisher = publisher_of(current)
    need_no_key(current.header("idempotency-key"))
    return publish_stream(current, publisher)
