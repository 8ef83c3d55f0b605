"""The demonstration pages, their scripts and styles, the browser client, and a stream of the time."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, render_template, request
from flask.typing import ResponseReturnValue

from pushsvc import auth
from pushsvc.calls.access.cookies import set_cookie
from pushsvc.calls.refusing import STREAM_HEADERS
from pushsvc.errors import NotFound, PushError, Unavailable
from pushsvc.events import sse
from pushsvc.program.files import FOLDER
from pushsvc.storage.tickets.tickets import SESSION_SECONDS
from pushsvc.web.http.current import call, service
from pushsvc.web.http.links import base

TICKS: Final = 10
MOST_CLOCKS: Final = 100  # at a time: anybody may watch one, and each holds a greenlet

# No inline scripts, and none from other hosts, so that text from a model or a publisher is never run as code.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

# `export` is an error in a script element without type=module. In a module `await` is an operator, and a regular
# expression follows it; elsewhere it is a name that is divided by a string, which holds the rest of the line.
_EXPORT: Final = b"""0&&await/"/;export const{connect}=pushsvc;//"\n"""

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """GET /: the page that publishes events and shows them."""
    return _page("index.html")


@blueprint.get("/chat")
def chat() -> ResponseReturnValue:
    """GET /chat: the page that asks the model."""
    return _page("chat.html")


@blueprint.get("/demo")
def demo() -> ResponseReturnValue:
    """GET /demo: the page that shows the stream of GET /demo/clock."""
    return _page("clock.html")


@blueprint.get("/console")
def console() -> ResponseReturnValue:
    """GET /console: the page for admins. It holds nothing itself: the browser asks with the token that is entered."""
    return _page("console.html")


def _page(template: str) -> Response:
    """Render a page. A request with the secret word that `pushsvc up` printed gets a token as a cookie. The word alone
    shows that the caller started the service; the client's address does not, because requests through a proxy or tunnel
    on this machine come from this machine, too."""
    svc = service()
    word, given = svc.settings.demo_key, request.args.get("demo")
    if word and given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), word.encode()):
        response = Response(status=303, headers={"Location": _without_word(), "Referrer-Policy": "no-referrer"})
        demo = True
    else:
        demo = bool(word) and _has_demo_token()
        response = Response(render_template(template, demo=demo, base=base()))
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    if demo:
        token = auth.encode(auth.DEMO_CLAIMS | svc.settings.own_claims, svc.secrets[0], ttl=SESSION_SECONDS)
        response.headers.add(*set_cookie(call(), auth.COOKIE, token, SESSION_SECONDS))
    return response


def _without_word() -> str:
    """The page's address without the secret word. It is relative, so it is right under any path of a proxy."""
    rest = urlencode([(name, value) for name, value in request.args.items(multi=True) if name != "demo"])
    return (request.path.rpartition("/")[2] or "./") + (f"?{rest}" if rest else "")


def _has_demo_token() -> bool:
    try:
        identity = service().verifier.verify(request.cookies.get(auth.COOKIE, ""))
    except PushError:
        return False
    return (identity.user, list(identity.publish)) == (auth.DEMO_CLAIMS["sub"], auth.DEMO_CLAIMS["publish"])


@blueprint.get("/static/<path:name>")
def static(name: str) -> ResponseReturnValue:
    """GET /static/<path>: a script or style of the pages. Browsers must check with each page whether it has changed, so
    that they never mix files of two versions. Answers 200, 304, or 404."""
    found = _static_files().get(name)
    if found is None:
        raise NotFound("There is no such file.")
    return _file(*found)


@blueprint.get("/push.js")
def push_js() -> ResponseReturnValue:
    """GET /push.js: the browser client, for `import` and for a script element. Answers 200, or 304."""
    return _file(*_push_js())


@cache
def _push_js() -> tuple[bytes, str, str]:
    content = (FOLDER / "npm/push.js").read_bytes() + _EXPORT
    return content, "text/javascript", _etag(content)


def _file(content: bytes, media_type: str, etag: str) -> ResponseReturnValue:
    response = Response(content, mimetype=media_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.set_etag(etag)
    return response.make_conditional(request)


@cache
def _static_files() -> dict[str, tuple[bytes, str, str]]:
    """Content, media type and ETag of each file by its path. The files are read once, so a name in a request is never
    used as a path of the file system."""
    files = {}
    folder = Path(current_app.root_path) / str(current_app.template_folder) / "static"
    for path in filter(Path.is_file, folder.rglob("*")):
        content = path.read_bytes()
        media_type = {".js": "text/javascript", ".css": "text/css"}.get(path.suffix, "application/octet-stream")
        files[path.relative_to(folder).as_posix()] = (content, media_type, _etag(content))
    return files


def _etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


_clocks: set[object] = set()  # one object for each running stream


@blueprint.get("/demo/clock")
def clock() -> ResponseReturnValue:
    """GET /demo/clock: stream the time once a second, ten times; then end.

    Answers 200 with text/event-stream; 204 to a client that has had all ten. Refuses: 503 while too many watch.
    """
    had = request.headers.get("Last-Event-ID", "")
    first = int(had) + 1 if had.isascii() and had.isdigit() and len(had) < 3 else 1
    if first > TICKS + 1:
        return Response(status=204)  # an EventSource that was not closed by its page stops reconnecting
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
