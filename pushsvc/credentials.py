"""From a request to an Identity: the Authorization header, a ticket, or a cookie, in this order."""

from __future__ import annotations

from flask import request

from pushsvc import auth, origins
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

    `Sec-Fetch-Site` (W3C Fetch Metadata) is what no page can forge. It tells where Origin is absent, as where another
    site merely links or embeds, and where a proxy rewrote Host. Raises Forbidden.
    """
    settings = service().settings
    site, header = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if header is None:
        ours = site not in ("cross-site", "same-site")
    else:
        origin = origins.parse(header)
        if site in ("cross-site", "same-site"):
            own: frozenset[str] = frozenset()
        else:
            own = origins.of_request(request.scheme, request.environ.get("HTTP_HOST", ""))
        named = origin in own or origin in settings.allowed_origins or origin == settings.public_origin
        ours = origin is not None and (named or site == "same-origin")
    if not ours:
        raise Forbidden("Pages of other sites may use cookies here only if PUSHSVC_ALLOWED_ORIGINS names them.")


def is_secure() -> bool:
    """Browsers speak TLS to this service, so its cookies need never travel without."""
    return request.is_secure or service().settings.public_url.startswith("https:")
