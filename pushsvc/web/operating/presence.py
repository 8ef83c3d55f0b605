"""GET /presence: who is here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pushsvc.attendance.roll_call import MOST_USERS, Present
from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import number
from pushsvc.errors import Invalid
from pushsvc.events.names import checked_name, topic_channel, user_channel
from pushsvc.web.http.current import call, service

USERS: Final = 100  # in an answer, if the request does not say

blueprint = Blueprint("presence", __name__)


@blueprint.get("/presence")
def presence() -> ResponseReturnValue:
    """GET /presence: tell which users have connections, on all workers. `user=`: that one; `topic=`: those who follow
    the topic; neither: all. `limit=` (100, at most 1000) and `after=` (the `next` of the page before) are for pages.

    Answers 200 with `users` (by name: `user`, `connections`, `since`, `workers`), `next` (null on the last page) and,
    if there are some, `silent`: workers that did not answer. Refuses: 400 for a wrong parameter, 401 without a good
    token, 403 if it is not an admin's, 503 while Redis is away.
    """
    identify(call()).need_admin()
    channel = _channel()
    limit = number(call(), "limit", USERS, 1, MOST_USERS)
    partition = service().reachable()
    roll = service().roll.ask(partition.hub.bus, partition.presence, channel, request.args.get("after", ""), limit)
    answer: dict[str, Any] = {"users": list(map(_shown, roll.users)), "next": roll.next}
    return answer | ({"silent": roll.silent} if roll.silent else {}), {"Cache-Control": "no-store"}


def _channel() -> str | None:
    user, topic = request.args.get("user"), request.args.get("topic")
    if user is not None and topic is not None:
        raise Invalid.field("topic", "cannot be asked for together with user.")
    if user is not None:
        return user_channel(checked_name(user, "user"))
    return None if topic is None else topic_channel(topic)


def _shown(present: Present) -> dict[str, Any]:
    began = None if present.since is None else datetime.fromtimestamp(present.since / 1e6, UTC)
    return {
        "user": present.user,
        "connections": present.connections,
        "since": None if began is None else began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "workers": sorted(present.workers),
    }
