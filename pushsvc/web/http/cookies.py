"""The cookies that the service sets, all alike."""

from __future__ import annotations

from flask import Response, request

from pushsvc.web.http.current import service


def set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    """Set a cookie for this host alone: no script reads it, and no other site's page has it sent."""
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="Strict", secure=is_secure())


def is_secure() -> bool:
    """Whether browsers speak TLS to this service, so that its cookies need never travel without."""
    return request.is_secure or service().settings.public_url.startswith("https:")
