"""GET /history: read the kept events of a channel page by page, or wait for new ones (long poll)."""

from __future__ import annotations

import contextlib

from flask import Blueprint, Response, after_this_request, request
from flask.typing import ResponseReturnValue

from pushsvc.calls.access.credentials import identify
from pushsvc.calls.arguments import id_argument, number
from pushsvc.calls.streams import Connection
from pushsvc.delivery.endings import LONG_POLL
from pushsvc.delivery.reading import history
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.wakeup import Wakeup
from pushsvc.errors import Invalid
from pushsvc.events.event import BEGINNING
from pushsvc.events.names import checked_channel
from pushsvc.web.http.current import call, service

blueprint = Blueprint("history", __name__)


@blueprint.get("/history")
def read_history() -> ResponseReturnValue:
    """GET /history: a page of a channel's events in id order, `after` one id or `before` one id. With `wait` (seconds)
    the request is a long poll.

    Answers 200 with `events`, `next` and, if events after `after` are gone, `gap`. Refuses: 400 for a parameter that is
    missing or wrong, 401 without a good token, 403 if the token may not listen to the channel, 429 to a user with too
    many long polls, 503 while Redis is away, while this worker holds as many pages as it may for clients that read them
    slowly and, to a long poll, if this worker is full or stopping.
    """
    identity = identify(call())
    svc = service()
    if "channel" not in request.args:
        raise Invalid.field("channel", "is missing.")
    channel = checked_channel(request.args["channel"])
    identity.need_subscribe([channel])
    partition = svc.partition_with(channel, identity.user)
    log, hub = partition.log, partition.hub
    after, before = id_argument(call(), "after", partition.keys), id_argument(call(), "before", partition.keys)
    limit = number(call(), "limit", history.DEFAULT_LIMIT, 1, history.MAX_LIMIT)
    wait = number(call(), "wait", 0, 0, history.MAX_WAIT)
    with contextlib.ExitStack() as room:
        room.enter_context(svc.pages.holding(history.MOST_BYTES, identity.owner))
        if before is not None and after is None:
            answer = history.newest_before(log, channel, before, limit)
        else:
            anew = after is None and identity.user is not None and log.standing(identity.user).is_lost
            answer = history.page_after(log, channel, after, limit, before, anew=anew)
        if not wait or before is not None or history.says_something(answer):
            _hold_until_sent(room.pop_all())
            return answer
    wakeup = Wakeup()
    subscriber = Subscriber(
        identity.user or "",
        [channel],
        after or BEGINNING,
        wakeup,
        tracks_position=False,
        expires=identity.expires,
        kind=LONG_POLL,
        token=identity.token,
    )
    connection = Connection(call(), hub, subscriber)
    try:
        return history.await_page_after(log, channel, after, limit, wait, subscriber, wakeup, anew=anew)
    finally:
        connection.leave()


def _hold_until_sent(room: contextlib.ExitStack) -> None:
    """Hold a page's room until its last byte is on its way: who asks for many and reads none would fill the worker."""

    def sent(response: Response) -> Response:
        response.call_on_close(room.close)
        return response

    after_this_request(sent)
