"""The pages that show what the service does, and the smallest of all streams."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, render_template, request
from flask.typing import ResponseReturnValue

from pushsvc import auth, sse
from pushsvc.cookies import set_cookie
from pushsvc.errors import Unavailable
from pushsvc.listening import STREAM_HEADERS
from pushsvc.service import service
from pushsvc.tickets import SESSION_SECONDS

TICKS: Final = 10
MOST_CLOCKS: Final = 100  # at a time: anybody may watch one, and each holds a greenlet

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return _page("index.html")


@blueprint.get("/chat")
def chat() -> ResponseReturnValue:
    return _page("chat.html")


@blueprint.get("/demo")
def demo() -> ResponseReturnValue:
    return _page("clock.html")


def _page(template: str) -> Response:
    """Under `pushsvc up` on a loopback address a page brings its own token, as a cookie."""
    svc = service()
    # The Host check keeps out pages of other sites that made their name resolve to this machine, the key everybody
    # who came through another proxy.
    key = svc.settings.demo_key
    direct = key != "" and hmac.compare_digest(request.headers.get("X-Pushsvc-Demo", "").encode(), key.encode())
    demo = direct and urlsplit(f"//{request.host}").hostname in ("localhost", "127.0.0.1", "::1")
    nonce = secrets.token_urlsafe(16)
    response = Response(render_template(template, demo=demo, nonce=nonce))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    if demo:
        token = auth.encode(auth.DEMO_CLAIMS, svc.secret, ttl=SESSION_SECONDS)
        set_cookie(response, auth.COOKIE, token, SESSION_SECONDS)
    return response


_clocks: set[object] = set()  # those that run


@blueprint.get("/demo/clock")
def clock() -> ResponseReturnValue:
    """The time once a second, ten times, and then a clean end: what an EventSource is, in its smallest form."""
    had = request.headers.get("Last-Event-ID", "")
    first = int(had) + 1 if had.isascii() and had.isdigit() and len(had) < 3 else 1
    if first > TICKS + 1:
        return Response(status=204)  # an EventSource that does not close by itself stops coming back
    if request.method == "HEAD":
        return Response(headers=STREAM_HEADERS)
    if len(_clocks) >= MOST_CLOCKS:
        raise Unavailable("Too many watch the clock; try again later.", retry_after=TICKS)
    token = object()
    _clocks.add(token)
    response = Response(_ticks(first), headers=STREAM_HEADERS)
    response.call_on_close(lambda: _clocks.discard(token))
    return response


def _ticks(first: int) -> Iterator[bytes]:
    yield sse.retry(1000) + b"event: cursor\nid: %d\ndata:\n\n" % (first - 1)
    for number in range(first, TICKS + 1):
        yield sse.with_id(
            str(number).encode(), sse.frame("message", datetime.now().astimezone().isoformat("T", "seconds"))
        )
        time.sleep(1)
    yield sse.with_id(str(TICKS + 1).encode(), sse.frame("end", "that was all"))
