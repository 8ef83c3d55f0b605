"""The HTTP surface: each view checks what came, asks one part of the service, and words the answer."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from pushsvc.delivery import history
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.errors import Invalid, PushError, Unavailable
from pushsvc.events.event import BEGINNING, EventId, checked_channel, checked_name, checked_topics, user_channel
from pushsvc.storage.tickets import DEFAULT_TTL, MAX_TTL
from pushsvc.web import publishing
from pushsvc.web.arguments import check_query, id_argument, json_body, json_object, number
from pushsvc.web.credentials import identify, prover, revoke_shown
from pushsvc.web.current import service
from pushsvc.web.events import Connection, events
from pushsvc.web.links import link

_NOT_KEPT: Final = {"Cache-Control": "no-store"}  # a cache with a default lifetime would go on saying "ready"
ANONYMOUS: Final = "*"  # no name: whom the long polls of tokens without a user count for

blueprint = Blueprint("pushsvc", __name__)
blueprint.get("/events")(events)


@blueprint.before_app_request
def _started() -> None:
    """The worker class starts the service before the first request; other servers do not know it."""
    service().start()
    check_query()
    revoke_shown()


@blueprint.post("/publish")
def publish() -> ResponseReturnValue:
    identity = identify()
    body = json_body()
    svc = service()
    return publishing.publish(body, request.headers.get("Idempotency-Key"), identity, svc.log, svc.limits)


@blueprint.post("/tickets")
def tickets() -> ResponseReturnValue:
    identity = identify()
    svc = service()
    body = json_object({"user", "topics", "ttl"})
    user = checked_name(body.get("user", identity.user), "user")
    topics = checked_topics(body.get("topics", []))
    ttl = body.get("ttl", DEFAULT_TTL)
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 1 <= ttl <= MAX_TTL:
        raise Invalid.field("ttl", f"must be a whole number of seconds from 1 to {MAX_TTL}.")
    identity.need_subscribe([user_channel(user), *topics])
    expires = identity.expires if user == identity.user else None
    partition = svc.of(user)
    cursor = partition.log.clock().last  # before anything that the asker reads next: see README, "Listen"
    ticket = partition.tickets.issue(user, topics, ttl, expires)
    url = link(f"/events?ticket={ticket}")
    return {"ticket": ticket, "expires_in": ttl, "url": url, "cursor": str(cursor)}


@blueprint.get("/history")
def read_history() -> ResponseReturnValue:
    identity = identify()
    svc = service()
    if "channel" not in request.args:
        raise Invalid.field("channel", "is missing.")
    channel = checked_channel(request.args["channel"])
    identity.need_subscribe([channel])
    partition = svc.with_channel(channel, identity.user)
    log, hub = partition.log, partition.hub
    after, before = id_argument("after", partition.keys), id_argument("before", partition.keys)
    limit = number("limit", history.DEFAULT_LIMIT, 1, history.MAX_LIMIT)
    wait = number("wait", 0, 0, history.MAX_WAIT)
    if before is not None and after is None:
        return history.newest_before(log, channel, before, limit)
    anew = after is None and identity.user is not None and log.standing(identity.user).is_lost
    answer = history.page_after(log, channel, after, limit, before, anew=anew)
    if not wait or before is not None or history.says_something(answer):
        return answer
    bell = history.Wakeup()
    subscriber = Subscriber(
        identity.user or ANONYMOUS, [channel], after or BEGINNING, bell, ack=False, expires=identity.expires
    )
    connection = Connection(hub, subscriber)
    try:
        return history.await_page_after(log, channel, after, limit, wait, subscriber, bell, anew=anew)
    finally:
        connection.leave()


@blueprint.post("/ack")
def ack() -> ResponseReturnValue:
    try:
        given = json_object({"id"}).get("id")
    except PushError:
        identify()  # who may not ask is told that first
        raise
    user = prover(given) if isinstance(given, str) else None
    if user is None:
        user = identify().need_user()
    if not isinstance(given, str):
        raise Invalid.field("id", "must be an event id such as 1795229804123-0.")
    partition = service().of(user)
    event_id = EventId.parse(partition.keys.own(given))
    if event_id > partition.log.clock().last:  # it would silence events that are still to come
        raise Invalid.field("id", "is ahead of every event there is.")
    partition.log.advance({user: event_id})
    return _unread(user)


@blueprint.get("/unread")
def unread() -> ResponseReturnValue:
    return _unread(identify().need_user())


def _unread(user: str) -> ResponseReturnValue:
    return history.unread(service().of(user).log, user)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    return {"status": "alive"}, _NOT_KEPT


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    why_not = service().unready()
    if why_not is not None:
        raise Unavailable(why_not, retry_after=1)
    problems = service().health.problems()
    return {"status": "ready"} | ({"problems": problems} if problems else {}), _NOT_KEPT
