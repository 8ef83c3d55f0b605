"""DELETE /connections: end a user's connections."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pushsvc.calls.credentials import identify
from pushsvc.errors import Invalid
from pushsvc.events.names import checked_name
from pushsvc.web.http.current import call, service

blueprint = Blueprint("connections", __name__)


@blueprint.delete("/connections")
def cut() -> ResponseReturnValue:
    """DELETE /connections?user=: end all streams and long polls of a user, on all workers. Their clients are told
    `refused` with status 401. The user's tickets are void, and so are the cookies and proofs that came of them; tokens
    stay what they are.

    Answers 200 with the `user`, and how many `connections` there were. Refuses: 400 without a user, 401 without a good
    token, 403 if it is not an admin's, 503 while Redis is away.
    """
    identify(call()).need_admin()
    if "user" not in request.args:
        raise Invalid.field("user", "is missing.")
    user = checked_name(request.args["user"], "user")
    partition = service().partition_of(user)
    partition.tickets.revoke_all(user, partition.log.clock().now)  # before the end, or a client would be back at once
    held = partition.presence.workers(user)
    partition.streams.cut(user, held)
    return {"user": user, "connections": sum(held.values())}
