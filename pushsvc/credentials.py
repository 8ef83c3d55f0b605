"""From a request to an Identity: the Authorization header, a ticket, or a cookie, in this order."""

from __future__ import annotations

from flask import request

from pushsvc import auth
from pushsvc.auth import Identity
from pushsvc.errors import Forbidden, Unauthorized
from pushsvc.service import service
from pushsvc.tickets import Admission


def identify() -> Identity:
    """Who sent this request. Raises Unauthorized, or Forbidden for another site's page that borrows a cookie."""
    admission = admit()
    if admission.ticket is not None:
        raise Unauthorized("A ticket is for GET /events; here it counts only once it was used there.")
    return admission.identity


def admit() -> Admission:
    """Who wants to listen; a ticket that was never used is accepted too, and is yet to be spent."""
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("Authorization: must be of the scheme Bearer.")
        return Admission(auth.decode(token.strip(), service().secret))
    ticket = request.args.get("ticket")
    if ticket is not None:
        same_site()
        return service().of(ticket).tickets.admit(ticket, request.cookies)
    cookie = request.cookies.get(auth.COOKIE)
    if cookie is not None:
        same_site()
        return Admission(auth.decode(cookie, service().secret))
    raise Unauthorized("Send a token: Authorization: Bearer, a ticket, or the cookie pushsvc_token.")


def same_site() -> None:
    """A browser sends cookies also for pages of other sites; only those named in ALLOWED_ORIGINS may use them.

    Origin is absent where another site merely links or embeds; Sec-Fetch-Site tells then (W3C Fetch Metadata).
    """
    origin = request.headers.get("Origin")
    if origin in service().settings.allowed_origins:
        return
    foreign = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    if foreign if origin is None else origin.partition("://")[2] != request.host:
        raise Forbidden("Pages of other sites may use cookies here only if PUSHSVC_ALLOWED_ORIGINS names them.")
