"""GET /events, for any server."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from pushsvc.calls.events import events
from pushsvc.web.http.current import call, respond

blueprint = Blueprint("events", __name__)


@blueprint.get("/events")
def get_events() -> ResponseReturnValue:
    """GET /events: see `calls.events`."""
    return respond(events(call()))
