"""Sets the service's cookies, all with the same attributes."""

from __future__ import annotations

from flask import Response, request

from pushsvc.web.http.current import service


def set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    """Set a cookie for this host alone. No script can read it, and browsers do not send it for other sites' pages."""
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="Strict", secure=is_secure())


def is_secure() -> bool:
    """Whether browsers reach this service over TLS, so that its cookies are to be sent over TLS only."""
    return request.is_secure or service().settings.public_url.startswith("https:")
