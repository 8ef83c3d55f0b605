"""The HTTP surface: each view checks what came, asks one part of the service, and words the answer."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from pushsvc import auth, history, publishing, sse
from pushsvc.credentials import admit, identify
from pushsvc.errors import Invalid, Unavailable, UnsupportedMedia
from pushsvc.event import ALL, BEGINNING, EventId, checked_channel, checked_name, checked_topics, user_channel
from pushsvc.outlet import QueueOutlet
from pushsvc.service import Service, service
from pushsvc.subscriber import Reason, Subscriber
from pushsvc.tickets import DEFAULT_TTL, MAX_TTL, SESSION_SECONDS, Admission

MAX_BODY_BYTES: Final = 64 * 2**20  # of any request; one batch of the usual size is far below

blueprint = Blueprint("pushsvc", __name__)


@blueprint.before_app_request
def _started() -> None:
    """The worker class starts the service before the first request; other servers do not know it."""
    service().start()


@blueprint.post("/publish")
def publish() -> ResponseReturnValue:
    identity = identify()
    body = _json_body()
    svc = service()
    return publishing.publish(body, request.headers.get("Idempotency-Key"), identity, svc.log, svc.limits)


@blueprint.get("/events")
def events() -> ResponseReturnValue:
    if request.method == "HEAD":
        return Response(headers=_STREAM_HEADERS)
    svc = service()
    svc.hub.check_room()
    admission = admit()
    user = admission.identity.need_user()
    channels = [user_channel(user), ALL, *_topics(admission)]
    admission.identity.need_subscribe(channels)
    start = _start(svc, user, channels)
    outlet = QueueOutlet(svc.settings.send_buffer_bytes, request.environ.get("gunicorn.socket"))
    subscriber = Subscriber(
        user,
        channels,
        start.after,
        outlet,
        unasked=start.unasked,
        ack=_choice("ack", ("auto", "manual")) == "auto",
        expires=admission.identity.expires,
    )
    svc.presence.enter(user)
    response = Response(_stream(svc, subscriber, outlet, start.told), headers=_STREAM_HEADERS)

    # A client that is gone before the first byte never starts the generator, so it cannot clean up.
    @response.call_on_close
    def leave() -> None:
        outlet.unwatch()
        svc.hub.leave(subscriber)
        svc.presence.leave(user)

    try:
        svc.hub.join(subscriber)
    except BaseException:
        leave()
        raise
    outlet.watch(lambda: subscriber.close(Reason.GONE))
    if admission.cookie is not None:
        name, value = admission.cookie
        response.set_cookie(
            name, value, max_age=SESSION_SECONDS, httponly=True, samesite="Strict", secure=request.is_secure
        )
    return response


_STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


def _stream(svc: Service, subscriber: Subscriber, outlet: QueueOutlet, cursor: EventId | None) -> Iterator[bytes]:
    yield sse.opening(svc.hub.retry_ms(), cursor)
    yield from svc.hub.listen(subscriber, outlet)


def _topics(admission: Admission) -> tuple[str, ...]:
    """The channels of `?topics=a,b`; a ticket brings its own."""
    if "topics" not in request.args:
        return admission.topics
    return checked_topics([name for name in request.args["topics"].split(",") if name])


class _Start(NamedTuple):
    """The cursor to replay after, the channels on which the user never stood, and the cursor to tell the browser."""

    after: EventId
    unasked: Sequence[str] = ()
    told: EventId | None = None


def _start(svc: Service, user: str, channels: Sequence[str]) -> _Start:
    cursor = sse.last_event_id(request.headers.get("Last-Event-ID"), request.args.get("last_event_id"))
    since = _choice("since", ("unread", "now", "earliest"))
    if cursor is not None:
        return _Start(cursor)
    if since == "now":  # a reconnect would repeat "now", and lose what came in between
        now = svc.log.clock().last
        return _Start(now, told=now)
    if since == "earliest":
        return _Start(BEGINNING, unasked=channels)
    position = svc.log.position(user)
    # Somebody new has not missed what all or a topic heard long ago, but has what was for them alone.
    return _Start(BEGINNING, unasked=channels[1:]) if position is None else _Start(position)


@blueprint.post("/tickets")
def tickets() -> ResponseReturnValue:
    identity = identify()
    svc = service()
    body = _json_object({"user", "topics", "ttl"})
    user = checked_name(body.get("user", identity.user), "user")
    topics = checked_topics(body.get("topics", []))
    ttl = body.get("ttl", DEFAULT_TTL)
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 1 <= ttl <= MAX_TTL:
        raise Invalid.field("ttl", f"must be a whole number of seconds from 1 to {MAX_TTL}.")
    identity.need_subscribe([user_channel(user), *topics])
    expires = identity.expires if user == identity.user else None
    ticket = svc.tickets.issue(user, topics, ttl, expires)
    names = ",".join(topic.removeprefix("topic:") for topic in topics)
    url = f"{request.script_root}/events?ticket={ticket}" + (f"&topics={names}" if names else "")
    return {"ticket": ticket, "expires_in": ttl, "url": url}


@blueprint.get("/history")
def read_history() -> ResponseReturnValue:
    identity = identify()
    svc = service()
    if "channel" not in request.args:
        raise Invalid.field("channel", "is missing.")
    channel = checked_channel(request.args["channel"])
    identity.need_subscribe([channel])
    after, before = _id_argument("after"), _id_argument("before")
    limit = _number("limit", history.DEFAULT_LIMIT, 1, history.MAX_LIMIT)
    wait = _number("wait", 0, 0, history.MAX_WAIT)
    if before is not None and after is None:
        return history.newest_before(svc.log, channel, before, limit)
    if wait and before is None:
        return history.await_page_after(svc.hub, svc.log, channel, after, limit, wait)
    return history.page_after(svc.log, channel, after, limit, before)


@blueprint.post("/ack")
def ack() -> ResponseReturnValue:
    user = identify().need_user()
    log = service().log
    body = _json_object({"id"})
    if not isinstance(body.get("id"), str):
        raise Invalid.field("id", "must be an event id such as 1795229804123-0.")
    event_id = EventId.parse(body["id"])
    if event_id > log.clock().last:  # it would silence events that are still to come
        raise Invalid.field("id", "is ahead of every event there is.")
    log.advance({user: event_id})
    return _unread(user)


@blueprint.get("/unread")
def unread() -> ResponseReturnValue:
    return _unread(identify().need_user())


def _unread(user: str) -> ResponseReturnValue:
    log = service().log
    position = log.position(user)
    count = log.count_after([user_channel(user), ALL], position)
    return {"unread": count, "id": None if position is None else str(position)}


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    return {"status": "alive"}


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    why_not = service().unready()
    if why_not is not None:
        raise Unavailable(why_not, retry_after=1)
    return {"status": "ready"}


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """The demo page. Under `pushsvc up` on a loopback address it brings its own token, as a cookie."""
    svc = service()
    # The Host check keeps out pages of other sites that made their name resolve to this machine.
    demo = svc.settings.demo and request.host.rpartition(":")[0].strip("[]") in ("localhost", "127.0.0.1", "::1")
    nonce = secrets.token_urlsafe(16)
    response = Response(render_template("index.html", demo=demo, nonce=nonce))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    if demo:
        token = auth.encode(auth.DEMO_CLAIMS, svc.secret, ttl=SESSION_SECONDS)
        response.set_cookie(auth.COOKIE, token, max_age=SESSION_SECONDS, httponly=True, samesite="Strict")
    return response


def _json_body() -> bytes:
    """The body of a request that says it is JSON: a type that no other site's form can send unasked."""
    if request.mimetype != "application/json":
        raise UnsupportedMedia("Content-Type: must be application/json.")
    return request.get_data(cache=False)


def _json_object(fields: set[str]) -> dict[str, Any]:
    body = publishing.parse_json(_json_body())
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    for field in body:
        if field not in fields:
            raise Invalid.field(field, "is not a field here.")
    return body


def _choice(name: str, choices: tuple[str, ...]) -> str:
    """A parameter that is one of a few words; the first is the default."""
    value = request.args.get(name, choices[0])
    if value not in choices:
        raise Invalid.field(name, f"must be one of {', '.join(choices)}.")
    return value


def _number(name: str, default: int, least: int, most: int) -> int:
    value = request.args.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit()) or not least <= int(value[:10]) <= most:
        raise Invalid.field(name, f"must be a whole number from {least} to {most}.")
    return int(value)


def _id_argument(name: str) -> EventId | None:
    value = request.args.get(name)
    return EventId.parse(value, name) if value else None
