"""Finds the Identity behind a request: by the Authorization header, a ticket, or a cookie, in this order.

A credential that is bad, or meant for another service, is skipped if another one is good: browsers send old cookies
again, and proxies add headers of their own. If none is good, the refusal is about the most specific: the ticket, else
the token, else the cookie.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Final

from pushsvc import auth
from pushsvc.addresses import origins
from pushsvc.auth import Identity
from pushsvc.calls.arguments import choice
from pushsvc.calls.call import Call
from pushsvc.concurrency.shares import OWNER
from pushsvc.errors import Forbidden, PushError, Unauthorized, Unavailable
from pushsvc.events.proof import proof_in, proofs_in
from pushsvc.storage.cursor import PARAMETERS
from pushsvc.storage.tickets.admission import Admission, Evidence, Kind, SpentTicket

MOST_SHOWN: Final = 20  # proofs in one URL that are looked up; a stream's URL has one


def identify(call: Call) -> Identity:
    """Find out who sent the request, for whom this greenlet works from now on. Raises Unauthorized, or Forbidden if
    another site's page made the browser send a cookie."""
    identity = _first_good(call, opens=False).identity
    OWNER.set(identity.owner)
    return identity


def admit(call: Call, *, clean: bool = False) -> Admission:
    """Find out who wants to listen. A ticket that was never used is accepted too; it is not spent yet (see
    `streams.begin`). `clean`: the stream's ids carry no proof. Raises as `identify` does."""
    admission = _first_good(call, opens=True, clean=clean)
    OWNER.set(admission.identity.owner)
    return admission


def bears_token(call: Call) -> bool:
    """Whether the Authorization header, which goes before all other credentials, has a good token."""
    try:
        return _bearer(call) is not None
    except (Unauthorized, Forbidden):
        return False


def _first_good(call: Call, *, opens: bool, clean: bool = False) -> Admission:
    """Find the first credential that is good. `opens`: the request asks for a stream, which a ticket may open; `clean`:
    see `admit`."""
    of_token: PushError | None = None
    try:
        identity = _bearer(call)
        if identity is not None:
            return Admission(identity)
    except (Unauthorized, Forbidden) as refusal:
        of_token = refusal
    of_ticket: PushError | None = None
    try:
        admission = _ticket(call, opens=opens, clean=clean)
        if admission is not None:
            return admission
    except (Unauthorized, Forbidden) as refusal:
        of_ticket = refusal
    try:
        identity = _cookie(call)
    except (Unauthorized, Forbidden) as refusal:
        raise of_ticket or of_token or refusal from None
    if not isinstance(of_ticket, SpentTicket):
        return Admission(identity)
    if identity.user != of_ticket.user:  # a page that asked for one user's events must not get another's
        raise of_ticket
    return Admission(identity, of_ticket.topics)


def _bearer(call: Call) -> Identity | None:
    """Verify the token of the Authorization header. None: there is no such header, or it has another scheme."""
    scheme, _, token = (call.header("authorization") or "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    return _token(call, token.strip())


def _ticket(call: Call, *, opens: bool, clean: bool) -> Admission | None:
    ticket = call.args.get("ticket")
    if ticket is None:
        return None
    same_site(call)
    heard = call.header("last-event-id") or ""
    if clean and not heard:  # nobody but the page itself opens its WebSocket again, and its URL says what it has heard
        heard = next((value for name in PARAMETERS for value in call.args.getlist(name) if value), "")
    evidence = Evidence(
        call.cookies,
        heard,
        clean or call.header("sec-fetch-site") == "same-origin",
        choice(call, "resume", ("", "id")) == "id" and not clean,
    )
    admission = call.service.partition_of(ticket).tickets.admit(ticket, evidence)
    call.service.verifier.check(admission.identity)
    if not opens and admission.use is not None and admission.use.kind is Kind.FIRST:
        raise Unauthorized("A ticket is for GET /events; here it counts only once it was used there.")
    if not opens and admission.use is not None and admission.use.kind is Kind.TAKE_OVER:
        raise SpentTicket(admission.identity.need_user(), admission.topics)
    return admission


def prover(call: Call, event_id: str) -> str | None:
    """Find the user whose stream the event id came from, by the proof in the id. None: the id has no good proof."""
    proof = proof_in(event_id)
    return None if proof is None else call.service.partition_of(proof).tickets.user_of(proof)


def revoke_shown(call: Call) -> None:
    """Revoke the proofs in the request's URL, because access logs and browser histories keep URLs."""
    if "~" not in call.query.replace("%7E", "~").replace("%7e", "~"):
        return
    shown = {proof for values in call.args.listvalues() for each in values for proof in proofs_in(each)}
    shown = set(itertools.islice(shown, MOST_SHOWN))
    for partition in call.service.partitions:
        if proofs := list(filter(partition.keys.hold, shown)):
            with contextlib.suppress(Unavailable):  # while Redis is away no proof is good either
                partition.tickets.revoke(proofs)


def _cookie(call: Call) -> Identity:
    cookie = call.cookies.get(auth.COOKIE)
    if cookie is None:
        raise Unauthorized("Send a token: Authorization: Bearer, a ticket, or the cookie pushsvc_token.")
    same_site(call)
    return _token(call, cookie)


def _token(call: Call, token: str) -> Identity:
    return call.service.verifier.verify(token)


def same_site(call: Call) -> None:
    """Check that the request comes from our own pages, or from an origin in ALLOWED_ORIGINS: browsers send cookies for
    pages of other sites, too. Raises Forbidden.

    `Sec-Fetch-Site` (W3C Fetch Metadata) cannot be forged by a page. It decides where Origin is absent, as when
    another site links to or embeds a URL, and where a proxy has rewritten Host.
    """
    settings = call.service.settings
    site, header = call.header("sec-fetch-site"), call.header("origin")
    if header is None:
        ours = site not in ("cross-site", "same-site")
    else:
        origin = origins.parse(header)
        if site in ("cross-site", "same-site"):
            own: frozenset[str] = frozenset()
        else:
            own = origins.of_request(call.scheme, call.header("host") or "")
        named = origin in own or origin in settings.allowed_origins or origin == settings.public_origin
        ours = origin is not None and (named or site == "same-origin")
    if not ours:
        raise Forbidden("Pages of other sites may use cookies here only if PUSHSVC_ALLOWED_ORIGINS names them.")
