"""The common ground of the frameworks' parts: the answer with a ticket, and the lines that a page needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin

from pushsvc.client import Publisher, ServiceError, Ticket

TICKET_PATH: Final = "/push/ticket"
PATIENCE_SECONDS: Final = 3.0  # for a ticket: the page asks again
_UNSAFE: Final = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}  # in a script element


class Answer(NamedTuple):
    """An HTTP answer in JSON, for the page's own fetch alone."""

    status: int
    body: str
    headers: Mapping[str, str]


def _answer(status: int, value: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value), {"Cache-Control": "no-store", "Vary": "Cookie"} | named)


def may_ask(site: str | None) -> bool:
    """Whether a request with this header `Sec-Fetch-Site` comes from a page of the application's."""
    return site in (None, "same-origin", "none")


NOBODY: Final = _answer(401, None)  # push.js closes the stream
FOREIGN: Final = _answer(403, {"detail": "Tickets are for this site's own pages."})


def given(ticket: Ticket, public_url: str) -> Answer:
    """The ticket, for push.js."""
    url = urljoin(public_url, ticket.url)
    return _answer(200, {"url": url, "cursor": ticket.cursor, "expires_in": ticket.expires_in})


def refused(error: ServiceError) -> Answer:
    """The service gives no ticket: push.js asks again."""
    return _answer(503, {"detail": error.detail}, Retry_After=str(int(error.retry_after or 1)))


def ticket_answer(
    push: Publisher, public_url: str, user: str | None, topics: Iterable[str], site: str | None
) -> Answer:
    """Answer a page that asks for a ticket. `user`: who is logged in; `site`: its header Sec-Fetch-Site."""
    if not may_ask(site):
        return FOREIGN
    if user is None:
        return NOBODY
    try:
        return given(push.ticket(user, topics=topics), public_url)
    except ServiceError as error:
        return refused(error)


def script(public_url: str, ticket_path: str, user: str | None, nonce: str = "") -> str:
    """The script elements of a page: `window.push` is its connection, shared by all tabs of the user. Nothing for a
    page that nobody is logged in to. `nonce`: of the page's Content-Security-Policy."""
    if user is None:
        return ""
    source, path, share = (json.dumps(text).translate(_UNSAFE) for text in ("same-origin", ticket_path, user))
    allowed = f' nonce="{escape(nonce)}"' if nonce else ""
    return (
        f'<script{allowed} src="{escape(urljoin(public_url, "push.js"))}"></script>\n<script{allowed}>\n'
        f"window.push = pushsvc.connect({{ share: {share}, ticket: async () => (\n"
        f'  await fetch({path}, {{ cache: "no-store", credentials: {source} }})).json() }});\n</script>'
    )


def base(url: str) -> str:
    """A URL under which paths are resolved."""
    return url.rstrip("/") + "/"
