"""The short way for the calls that come most: a server that can do so asks here before it asks Flask."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from pushsvc.calls.access.credentials import revoke_shown
from pushsvc.calls.answers import Answer, Stream, Upgrade, bug, refusal
from pushsvc.calls.arguments import check_query
from pushsvc.calls.call import Call
from pushsvc.calls.events import events
from pushsvc.calls.listening import listen, news
from pushsvc.calls.publish import publish
from pushsvc.calls.sockets.handshake import websocket
from pushsvc.errors import PushError
from pushsvc.telemetry.current import HEADER, begin

_ANSWERS: Final = "/v1/generations/"
_EVENTS: Final = "/events"
_WEBSOCKET: Final = "/ws"


def answer(call: Call) -> Answer | Stream | Upgrade | None:
    """Answer a call as the Flask application would: POST /publish in JSON, the streams of GET, and WebSockets. None: it
    is another call, or in some way unusual, and the application is to answer it."""
    work = _work_of(call)
    if work is None or (call.header("origin") is not None and call.service.settings.allowed_origins):
        return None  # what pages of other sites may read is told by Flask-CORS
    request = begin(call.header)
    answered = _answer(call, work)
    answered.headers.append((HEADER, request.id))
    return answered


def _answer(call: Call, work: Callable[[], Answer | Stream | Upgrade]) -> Answer | Stream | Upgrade:
    try:
        check_query(call.query)
        revoke_shown(call)
        return work()
    except PushError as error:
        return refusal(error, call.path)
    except Exception:  # noqa: BLE001  # it is logged; the connection goes on
        return bug(call.method, call.path)


def _work_of(call: Call) -> Callable[[], Answer | Stream | Upgrade] | None:
    path = call.path
    if call.method == "POST":
        plain = path == "/publish" and call.media_type == "application/json"
        return partial(publish, call) if plain and call.content_length is not None else None
    if call.method != "GET":
        return None
    if path == _EVENTS:
        return partial(events, call)
    if path == _WEBSOCKET:
        return partial(websocket, call)
    if not path.startswith(_ANSWERS) or not path.endswith("events"):
        return None
    name = path[len(_ANSWERS) : -len(_EVENTS)]
    if path == "/v1/generations/events":
        return partial(news, call)
    return partial(listen, call, name) if name and "/" not in name and path.endswith(_EVENTS) else None
