"""Makes the service's cookies, all with the same attributes."""

from __future__ import annotations

from werkzeug.http import dump_cookie

from pushsvc.calls.call import Call


def set_cookie(call: Call, name: str, value: str, seconds: int) -> tuple[str, str]:
    """Make the header that sets a cookie for this host alone. No script can read it, and browsers do not send it for
    other sites' pages. Where browsers reach this service over TLS, they send it over TLS only."""
    secure = call.scheme == "https" or call.service.settings.public_url.startswith("https:")
    cookie = dump_cookie(name, value, max_age=seconds, httponly=True, samesite="Strict", secure=secure)
    return "Set-Cookie", cookie
