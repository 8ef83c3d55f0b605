"""Whether the service answers as it would without what lies between: readiness, clock, CORS, cookies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from pushsvc.config import PREFIX
from pushsvc.doctor.findings import Finding, Wrong
from pushsvc.doctor.site import Site, claims_of, explained
from pushsvc.storage.tickets.admission import COOKIE_PREFIX

_CLOCK_SECONDS: Final = 5.0  # by which two clocks may differ; the Date header has whole seconds
_TOKEN_SECONDS: Final = 60.0  # for which the token should still be good
_STRANGER: Final = "https://stranger.invalid"
_PREFLIGHT: Final = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}
_UNSPOKEN: Final = (
    f"start it, or give its URL; with {PREFIX}PROXY_PROTOCOL the balancer should speak that (send-proxy-v2 in HAProxy, "
    "proxy_protocol on; in nginx)"
)
_SPOKEN: Final = f"{PREFIX}PROXY_PROTOCOL=on, if the balancer speaks that; else look at the service's log"
_ONE_VOICE: Final = "no CORS headers from the proxy (in nginx no add_header Access-Control-…): the service sends them"


def readiness(site: Site) -> Iterator[Finding]:
    """Check that the service is there, and ready. Raises Wrong if not."""
    try:
        answer = site.ask("GET", "/readyz")
    except Wrong as wrong:
        raise Wrong(wrong.text, _UNSPOKEN if site.settings.proxy_protocol else wrong.mend) from wrong
    if answer.status_code != 200 or answer.headers.get("Content-Type") != "application/json":
        mend = _SPOKEN if answer.status_code == 400 else "look at the service's log"
        raise Wrong(f"the service is not ready: {explained(answer)}", mend)
    for problem in answer.json().get("problems", []):
        yield Finding("readiness", f"the service says: {problem}", "mend that first")
    yield Finding("readiness", f"{site.url} is ready")


def clock(site: Site) -> Iterator[Finding]:
    """Check that the service's clock is right, and that the token is good for a while, by both clocks."""
    begun = time.time()
    answer = site.ask("GET", "/unread")
    ahead = _ahead((begun + time.time()) / 2, answer)
    if abs(ahead) > _CLOCK_SECONDS:
        way = "ahead of" if ahead > 0 else "behind"
        raise Wrong(
            f"the clock there is {abs(ahead):.0f} s {way} the one here; {PREFIX}LEEWAY_SECONDS forgives the makers of "
            f"tokens {site.settings.leeway_seconds:g} s",
            "timedatectl set-ntp true, on the machine whose clock is wrong",
        )
    yield Finding("clock", "the clock there is that here, to some seconds")
    left = claims_of(site.token).get("exp", float("inf")) - time.time()
    if left < _TOKEN_SECONDS:
        when = f"in {left:.0f} s" if left > 0 else f"{-left:.0f} s ago"
        raise Wrong(f"the token ends {when}", site.token_needed)
    if answer.status_code == 401 and "Send a token" in answer.text:
        raise Wrong("the token does not arrive: the proxy drops Authorization",
                    "a proxy that passes it on (login=PASSTHRU of cache_peer, in Squid)")  # fmt: skip
    if answer.status_code != 200:
        raise Wrong(f"the token is refused: {explained(answer)}", site.token_needed)
    yield Finding("token", "the token is good")


def _ahead(here: float, answer: httpx.Response) -> float:
    try:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp() - here
    except (KeyError, ValueError):
        raise Wrong("the answers have no Date", "a proxy that passes the Date header on") from None


def cors(site: Site) -> Iterator[Finding]:
    """Check that pages of the allowed origins may read answers, and those of others may not."""
    for headers in _both(site, _STRANGER):
        allowed = headers.get("Access-Control-Allow-Origin", "")
        if allowed in (_STRANGER, "*"):
            raise Wrong(f"any site may read answers (Access-Control-Allow-Origin: {allowed})", _ONE_VOICE)
    yield Finding("CORS", "a stranger's page may read nothing")
    for origin in site.settings.allowed_origins:
        answer, preflight = _both(site, origin)
        for headers in (answer, preflight):
            _check_allowed(origin, headers)
        missing = {"authorization", "content-type"} - set(_words(preflight.get("Access-Control-Allow-Headers", "")))
        if missing:
            raise Wrong(f"{origin} may not send {', '.join(sorted(missing))}", _ONE_VOICE)
        yield Finding("CORS", f"pages of {origin} may read answers")


def _check_allowed(origin: str, headers: httpx.Headers) -> None:
    """Raises Wrong unless a browser lets pages of the origin read the answer, and send cookies."""
    given = headers.get_list("Access-Control-Allow-Origin")
    if len(given) > 1:
        raise Wrong(f"Access-Control-Allow-Origin comes {len(given)} times, which browsers refuse", _ONE_VOICE)
    if given != [origin]:
        raise Wrong(
            f"pages of {origin} may not read answers (Access-Control-Allow-Origin: {', '.join(given) or 'none'})",
            f"{PREFIX}ALLOWED_ORIGINS={origin} where the service runs; where nginx is yours, also `pushsvc nginx` anew",
        )
    if headers.get("Access-Control-Allow-Credentials") != "true":
        raise Wrong(f"pages of {origin} may send no cookies (Access-Control-Allow-Credentials)", _ONE_VOICE)


def _both(site: Site, origin: str) -> tuple[httpx.Headers, httpx.Headers]:
    """The headers of an answer, and those of a preflight."""
    answer = site.ask("GET", "/unread", headers={"Origin": origin})
    preflight = site.ask("OPTIONS", "/publish", headers={"Origin": origin} | _PREFLIGHT)
    return answer.headers, preflight.headers


def _words(header: str) -> list[str]:
    return [word.strip().lower() for word in header.split(",")]


def cookies(site: Site) -> Iterator[Finding]:
    """Check that a ticket's cookie arrives, and over HTTPS is sent back over HTTPS alone."""
    made = site.ask("POST", "/tickets", json={"user": site.user})
    if made.status_code != 200:
        raise Wrong(f"no ticket can be made: {explained(made)}", site.token_needed)
    query = {"ticket": made.json()["ticket"], "since": "now", "ack": "manual"}
    try:
        with site.client() as client:
            del client.headers["Authorization"]  # which would stand over the ticket
            with client.stream("GET", "/events", params=query) as answer:
                given = [each for each in answer.headers.get_list("Set-Cookie") if each.startswith(COOKIE_PREFIX)]
    except httpx.HTTPError as error:
        raise Wrong("a ticket's stream is not answered", "what is said of buffering, or the proxy's log") from error
    if not given:
        raise Wrong("the cookie of a ticket's stream does not arrive", "a proxy that passes Set-Cookie on")
    if site.is_https and not all("secure" in (each.strip().lower() for each in one.split(";")) for one in given):
        raise Wrong(
            "cookies are not Secure: the service does not know that browsers come over HTTPS",
            f"{PREFIX}PUBLIC_URL={site.url}, or {PREFIX}TRUSTED_PROXIES with the proxy's address",
        )
    yield Finding("cookies", "a ticket's cookie is Secure" if site.is_https else "a ticket's cookie arrives")
