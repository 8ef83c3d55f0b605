"""POST /ack and GET /unread: set how far a user has read, and count the unread events."""

from __future__ import annotations

from typing import Final

from flask import Blueprint
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify, prover
from pushsvc.calls.acknowledging import acknowledge
from pushsvc.calls.arguments import json_object
from pushsvc.errors import PushError
from pushsvc.web.http.current import call, service

# An id of all partitions, with its proof, takes a tenth. Whoever sends it may be a stranger: the proof is all there is.
MOST_BODY_BYTES: Final = 65536

blueprint = Blueprint("unread", __name__)


@blueprint.post("/ack")
def ack() -> ResponseReturnValue:
    """POST /ack: move the user's position up to the event `id`; an older id changes nothing.

    The user is named by the id's proof, if it has a good one, else by the token.
    Answers 200 as GET /unread. Refuses: 400 for a malformed id, or one ahead of every event, 401 without a good token,
    403 if the token names no user, 415 for a body that is not JSON, 503 while Redis is away.
    """
    try:
        given = json_object(call(), {"id"}, MOST_BODY_BYTES, "").get("id")
    except PushError:
        identify(call())  # a caller without a good token is told 401, and not what is wrong with the body
        raise
    user = prover(call(), given) if isinstance(given, str) else None
    if user is None:
        user = identify(call()).need_user()
    acknowledge(service().partition_of(user), user, given)
    return _unread(user)


@blueprint.get("/unread")
def unread() -> ResponseReturnValue:
    """GET /unread: count the events that the user has not read.

    Answers 200 with `unread` (their number), `id` (the user's position) and, if some of them are gone, `gap`.
    Refuses: 401 without a good token, 403 if the token names no user, 503 while Redis is away.
    """
    return _unread(identify(call()).need_user())


def _unread(user: str) -> ResponseReturnValue:
    return service().partition_of(user).unread.answer(user)
