"""Makes the service's cookies, all with the same attributes."""

from __future__ import annotations

import base64
from typing import Final

import orjson
from werkzeug.http import dump_cookie

from pushsvc.calls.answers import Headers
from pushsvc.calls.call import Call
from pushsvc.storage.tickets.admission import COOKIE_PREFIX
from pushsvc.storage.tickets.tickets import SESSION_SECONDS

MOST_BYTES: Final = 4096  # of one browser's sessions: many servers refuse a request whose head is over 8 KB
MOST_DELETED: Final = 2  # in one response: nginx bounds its head


def set_cookie(call: Call, name: str, value: str, seconds: int) -> tuple[str, str]:
    """Make the header that sets a cookie for this host alone. No script can read it, and browsers do not send it for
    other sites' pages. Where browsers reach this service over TLS, they send it over TLS only."""
    secure = call.scheme == "https" or call.service.settings.public_url.startswith("https:")
    cookie = dump_cookie(name, value, max_age=seconds, httponly=True, samesite="Strict", secure=secure)
    return "Set-Cookie", cookie


def session_cookies(call: Call, name: str, value: str) -> Headers:
    """Make the headers that set a session's cookie, and delete the oldest sessions of a browser that has too many: each
    user whose ticket it has used is one."""
    deleted = [set_cookie(call, each, "", 0) for each in _too_many(call, name, value)]
    return [set_cookie(call, name, value, SESSION_SECONDS), *deleted]


def _too_many(call: Call, name: str, value: str) -> list[str]:
    others = {each: held for each, held in call.cookies.items() if each.startswith(COOKIE_PREFIX) and each != name}
    left, found = MOST_BYTES - len(name) - len(value), list[str]()
    oldest_first = sorted(others, key=lambda each: _expires(others[each]))  # browsers send them so (RFC 6265)
    for each in reversed(oldest_first):
        left -= len(each) + len(others[each])
        if left < 0:
            found.append(each)
    return found[-MOST_DELETED:]


def _expires(token: str) -> float:
    """The end of a session, as its token says, which is not verified here; 0: it says nothing."""
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return float(claims["exp"])
    except (ValueError, LookupError, TypeError):
        return 0.0
