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

from pushsvc import auth
from pushsvc.auth import Identity
from pushsvc.commands import Script
from pushsvc.errors import Unauthorized
from pushsvc.store import Store

_SPEND: Final = Script("spend")

DEFAULT_TTL: Final = 60  # seconds to use a ticket in
MAX_TTL: Final = 3600
SESSION_SECONDS: Final = 12 * 3600  # how long the cookie lets the browser reconnect
_COOKIE_PREFIX: Final = "pushsvc_session_"


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may connect, and with which topics' channels; `ticket` is one that is still to be spent."""

    identity: Identity
    topics: tuple[str, ...] = ()
    ticket: str | None = None


class SpentTicket(Unauthorized):
    """Who brings it does not prove to be who used it. It was for this `user` and these channels of topics."""

    def __init__(self, user: str, topics: tuple[str, ...]) -> None:
        super().__init__("The ticket was used already; ask for a new one.")
        self.user = user
        self.topics = topics


class Tickets:
    """Makes and redeems tickets."""

    def __init__(self, store: Store, secret: str, leeway: float) -> None:
        """`leeway`: see `auth.decode`."""
        self._store = store
        self._keys = store.keys
        self._leeway = leeway
        self._key = auth.derived_key(secret, "session")

    def issue(self, user: str, topics: Sequence[str], ttl: int, expires: float | None) -> str:
        """A ticket for `user` and the channels `topics`, usable once within `ttl` seconds.

        `expires` (Unix time) ends what comes of it, where the one who asks has no longer themselves.
        """
        ticket = self._keys.draw(lambda: secrets.token_urlsafe(24))
        claims = {"user": user, "topics": list(topics), "expires": expires}
        self._store.one(("SET", self._keys.ticket(_digest(ticket)), orjson.dumps(claims), "EX", ttl))
        return ticket

    def admit(self, ticket: str, cookies: Mapping[str, str]) -> Admission:
        """Recognise a fresh ticket, or the browser that spent it. Raises Unauthorized."""
        digest = _digest(ticket)
        fresh, spent = self._store.one(("MGET", self._keys.ticket(digest), self._keys.spent_ticket(digest)))
        if fresh is None and spent is None:
            raise Unauthorized("The ticket is unknown, or has expired; ask for a new one.")
        claims = orjson.loads(fresh or spent)
        user, topics = claims["user"], tuple(claims["topics"])
        expires = min(claims["expires"] or float("inf"), time.time() + SESSION_SECONDS)
        if expires <= time.time():
            raise Unauthorized("The ticket has expired with the token that it was made with; ask for a new one.")
        if fresh is None and not self._is_of(user, cookies):
            raise SpentTicket(user, topics)
        identity = Identity(user, subscribe=topics, expires=expires)
        return Admission(identity, topics, ticket if fresh else None)

    def _is_of(self, user: str, cookies: Mapping[str, str]) -> bool:
        """The cookies of this browser say that it has used a ticket of the user's."""
        session = cookies.get(self._cookie_name(user))
        try:
            return session is not None and auth.decode(session, self._key, self._leeway).user == user
        except Unauthorized:
            return False

    def spend(self, ticket: str, user: str) -> tuple[str, str]:
        """Swap a fresh ticket for a cookie, as (name, value). Raises Unauthorized if another was quicker."""
        digest = _digest(ticket)
        names = [self._keys.ticket(digest), self._keys.spent_ticket(digest)]
        if not self._store.one(_SPEND.call(names, SESSION_SECONDS)):
            raise Unauthorized("The ticket was used already; ask for a new one.")
        return self._cookie_name(user), auth.encode({"sub": user}, self._key, ttl=SESSION_SECONDS)

    def reading(self, generation_id: str) -> str:
        """What opens one answer for reading, as often as one likes: for its URL. Nothing of it is stored."""
        return hmac.digest(self._key.encode(), f"reading:{generation_id}".encode(), "sha256").hex()[:48]

    def opens(self, ticket: str, generation_id: str) -> bool:
        return hmac.compare_digest(ticket.encode("utf-8", "surrogateescape"), self.reading(generation_id).encode())

    def _cookie_name(self, user: str) -> str:
        return _COOKIE_PREFIX + hmac.digest(self._key.encode(), user.encode(), "sha256").hex()[:16]


def _digest(ticket: str) -> str:
    """Redis never holds what a thief of its data could use."""
    return hashlib.sha256(ticket.encode("utf-8", "surrogateescape")).hexdigest()
