"""Tickets: an EventSource can set no header, so it brings a secret that works once, in its URL.

A ticket is swapped, atomically, for the connection and a cookie. The browser's own reconnects repeat the URL with
the spent ticket; then the cookie speaks. It is named after the user, so that two tabs of one browser may belong
to two users, and holds no more than the ticket gave.
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
from pushsvc.store import Store

DEFAULT_TTL: Final = 60  # seconds to use a ticket in
MAX_TTL: Final = 3600
SESSION_SECONDS: Final = 12 * 3600  # how long the cookie lets the browser reconnect
_COOKIE_PREFIX: Final = "pushsvc_session_"
_MAX_CHANNELS: Final = 120  # in one cookie, whose size a browser limits to 4 KB; the oldest are dropped


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may connect, with which topics' channels; `cookie` is the (name, value) to set after a first use."""

    identity: Identity
    topics: tuple[str, ...]
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
        ticket = f"{secrets.token_urlsafe(24)}.{self._tag(user)}"
        claims = {"user": user, "topics": list(topics), "expires": expires}
        self._store.one(("SET", keys.ticket(_digest(ticket)), orjson.dumps(claims), "EX", ttl))
        return ticket

    def admit(self, ticket: str, cookies: Mapping[str, str], *, spend: bool) -> Admission:
        """Swap a fresh ticket (if `spend`), or recognise the browser that spent it. Raises Unauthorized."""
        name = _COOKIE_PREFIX + ticket.rpartition(".")[2]
        raw = self._store.one(("GETDEL", keys.ticket(_digest(ticket)))) if spend else None
        if raw is None:
            if name not in cookies:
                raise Unauthorized("The ticket is not valid, was used already, or has expired.")
            session = auth.decode(cookies[name], self._key)
            return Admission(session, session.subscribe)
        claims = orjson.loads(raw)
        expires = min(claims["expires"] or float("inf"), time.time() + SESSION_SECONDS)
        identity = Identity(claims["user"], subscribe=tuple(claims["topics"]), expires=expires)
        return Admission(identity, identity.subscribe, (name, self._session(identity, cookies.get(name))))

    def _session(self, identity: Identity, previous: str | None) -> str:
        """The cookie's value: this ticket's channels, and those of the user's other tabs in this browser."""
        channels = dict.fromkeys(identity.subscribe)
        if previous is not None:
            try:
                earlier = auth.decode(previous, self._key)
            except Unauthorized:
                pass  # an old cookie adds nothing
            else:
                channels |= dict.fromkeys(earlier.subscribe) if earlier.user == identity.user else {}
        assert identity.expires is not None
        claims = {"sub": identity.user, "subscribe": list(channels)[:_MAX_CHANNELS]}
        return auth.encode(claims, self._key, ttl=identity.expires - time.time())

    def _tag(self, user: str) -> str:
        return hmac.digest(self._key.encode(), user.encode(), "sha256").hex()[:16]


def _digest(ticket: str) -> str:
    """Redis never holds what a thief of its data could use."""
    return hashlib.sha256(ticket.encode("utf-8", "surrogateescape")).hexdigest()
