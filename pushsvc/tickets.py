"""Tickets: an EventSource can set no header, so it brings a secret that works once, in its URL.

A ticket is swapped, atomically, for the connection and a cookie. The browser's own reconnects repeat the URL with
the spent ticket: Redis still knows what that gave, and the cookie proves that this is the browser it was given to.
The cookie is named after the user, so that tabs of one browser may belong to different users.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from pushsvc import auth, keys
from pushsvc.auth import Identity
from pushsvc.errors import Unauthorized
from pushsvc.store import Script, Store

_REDEEM: Final = Script("redeem")

DEFAULT_TTL: Final = 60  # seconds to use a ticket in
MAX_TTL: Final = 3600
SESSION_SECONDS: Final = 12 * 3600  # how long the cookie lets the browser reconnect
_COOKIE_PREFIX: Final = "pushsvc_session_"


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may connect, with which topics' channels; `cookie` is the (name, value) to set after a first use."""

    identity: Identity
    topics: tuple[str, ...] = ()
    cookie: tuple[str, str] | None = None


class Tickets:
    """Makes and redeems tickets."""

    def __init__(self, store: Store, secret: str) -> None:
        self._store = store
        self._key = auth.derived_key(secret, "session")

    def issue(self, user: str, topics: Sequence[str], ttl: int, expires: float | None) -> str:
        """A ticket for `user` and the channels `topics`, usable once within `ttl` seconds.

        `expires` (Unix time) ends what comes of it, where the one who asks has no longer themselves.
        """
        ticket = secrets.token_urlsafe(24)
        claims = {"user": user, "topics": list(topics), "expires": expires}
        self._store.one(("SET", keys.ticket(_digest(ticket)), orjson.dumps(claims), "EX", ttl))
        return ticket

    def admit(self, ticket: str, cookies: Mapping[str, str], *, spend: bool) -> Admission:
        """Swap a fresh ticket (if `spend`), or recognise the browser that spent it. Raises Unauthorized."""
        digest = _digest(ticket)
        found = self._store.one(
            _REDEEM.call([keys.ticket(digest), keys.spent_ticket(digest)], int(spend), SESSION_SECONDS)
        )
        if not found:
            raise Unauthorized("The ticket is not valid, was used already, or has expired.")
        claims, fresh = orjson.loads(found[0]), found[1]
        expires = min(claims["expires"] or float("inf"), time.time() + SESSION_SECONDS)
        identity = Identity(claims["user"], subscribe=tuple(claims["topics"]), expires=expires)
        name = _COOKIE_PREFIX + self._tag(claims["user"])
        if fresh:
            session = auth.encode({"sub": claims["user"]}, self._key, ttl=SESSION_SECONDS)
            return Admission(identity, identity.subscribe, (name, session))
        session = cookies.get(name, "")
        if expires <= time.time() or auth.decode(session, self._key).user != claims["user"]:
            raise Unauthorized("The ticket was used already, and what it gave has ended.")
        return Admission(identity, identity.subscribe)

    def _tag(self, user: str) -> str:
        return hmac.digest(self._key.encode(), user.encode(), "sha256").hex()[:16]


def _digest(ticket: str) -> str:
    """Redis never holds what a thief of its data could use."""
    return hashlib.sha256(ticket.encode("utf-8", "surrogateescape")).hexdigest()
