"""DELETE /connections: end a user's connections, and take tokens back."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import choice
from pushsvc.errors import Invalid
from pushsvc.events.names import checked_name
from pushsvc.storage.revoking import Revocation
from pushsvc.web.http.current import call, service

LONGEST_ID: Final = 255  # characters of a token's id

blueprint = Blueprint("connections", __name__)


@blueprint.delete("/connections")
def cut() -> ResponseReturnValue:
    """DELETE /connections?user=: end all that a user listens to, on all workers: streams, sockets, long polls, answers.
    Their clients are told `refused` with status 401. The user's tickets are void, and so are the cookies and proofs
    that came of them. `tokens=void`: so are the user's tokens that were issued until now, or do not say when.

    DELETE /connections?jti=: take back the token with this id (claim `jti`). What was opened with it, or with a ticket
    that was made with it, ends.

    Answers 200 with the `user`, and how many `connections` there were, or with the `jti`. Refuses: 400 without either,
    401 without a good token, 403 if it is not an admin's, 503 while Redis is away.
    """
    identify(call()).need_admin()
    token = request.args.get("jti")
    if token is not None:
        return _revoke_token(token)
    if "user" not in request.args:
        raise Invalid.field("user", "is missing; or jti.")
    voids = choice(call(), "tokens", ("keep", "void")) == "void"
    return _cut_user(checked_name(request.args["user"], "user"), voids=voids)


def _revoke_token(token: str) -> ResponseReturnValue:
    if not token or len(token) > LONGEST_ID or "user" in request.args:
        raise Invalid.field("jti", f"must be 1 to {LONGEST_ID} characters, and goes without user.")
    service().revoking.revoke(Revocation(token=token), service().partitions[0].log.clock().now)
    return {"jti": token}


def _cut_user(user: str, *, voids: bool) -> ResponseReturnValue:
    partition = service().partition_of(user)
    now = partition.log.clock().now
    if voids:
        service().revoking.revoke(Revocation(user=user, until=now / 1000), now)
    partition.tickets.revoke_all(user, now)  # before the end, or a client would be back at once
    held = partition.presence.workers(user)
    living = partition.presence.living.workers(partition.presence.now() // 1000)
    for each in service().partitions:  # answers may be in any
        each.streams.cut(user, {*held, *living})
    return {"user": user, "connections": sum(held.values())}
