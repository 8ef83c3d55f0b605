"""Tickets: an EventSource cannot set headers, so it sends a secret in its URL that works once.

A ticket is swapped, atomically, for the connection and a cookie. The browser's own reconnects repeat the URL with the
spent ticket: Redis still knows what the ticket allowed, and the cookie proves that the same browser sends it. The
cookie is named after the user, so that tabs of one browser may belong to different users, and after the session that it
began. Later tickets of the user join the session whose cookie comes with them. Two tabs that open at the same moment
begin one each, and the browser keeps both. A spent ticket opens with the cookie of its own session alone. Where the
browser may not return a cookie, the stream's ids carry the proof instead, see proof.py.

A client that never received the head of the first response has neither. It repeats its request at once, so for a
moment a repeat takes over the stream, from the cursor at which that began.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from pushsvc import auth
from pushsvc.auth import Identity
from pushsvc.config import DEFAULT_PREFIX
from pushsvc.errors import TooManyRequests, Unauthorized, Unwritable
from pushsvc.events.event import EventId
from pushsvc.events.proof import proof_in
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.tickets.admission import (
    Admission,
    Begun,
    Evidence,
    Kind,
    LostRace,
    SpentTicket,
    Use,
    cookie_name,
    mark,
    short_name,
)
from pushsvc.tokens.verifier import Verifier

_SPEND: Final = Script("tickets/spend")
_ISSUE: Final = Script("tickets/issue")

DEFAULT_TTL: Final = 60  # seconds to use a ticket in
MAX_TTL: Final = 3600
KEPT_SECONDS: Final = 600  # a ticket whose stream was refused for now stays valid for at least so long
SESSION_SECONDS: Final = 12 * 3600  # how long the cookie, or the proof, lets the client reconnect
READING_SECONDS: Final = SESSION_SECONDS  # for which the URL of an answer opens it
TAKE_OVER_SECONDS: Final = 3.0  # after its first use
_MARK_CHARACTERS: Final = 16  # of a ticket's digest, at the end of a cookie's id
_MOST_SESSIONS: Final = 20  # of one user in one browser that are looked at


class Tickets:
    """Makes and redeems tickets."""

    def __init__(self, store: RedisClient, secrets: Sequence[str], leeway: float, most_per_user: int) -> None:
        """`secrets`, `leeway`: see `Verifier`; the first of the secrets signs. `most_per_user`: of unspent tickets."""
        self._most_per_user = most_per_user
        self._store = store
        self._keys = store.keys
        prefix = store.keys.prefix
        # Two services on one host may share a secret, and browsers send cookies to all ports.
        purpose = "session" if prefix == DEFAULT_PREFIX else f"session of {prefix}"
        self._every_key = [auth.derived_key(secret, purpose) for secret in secrets]
        self._key = self._every_key[0]
        self._verifier = Verifier(self._every_key, leeway)

    def issue(
        self,
        user: str,
        topics: Sequence[str],
        ttl: int,
        expires: float | None,
        now: int,
        token: str | None = None,
    ) -> str:
        """Make a ticket for `user` and the channels `topics`, usable once within `ttl` seconds.

        `expires` (Unix time): when the stream ends, if the token that requests the ticket expires; `token`: the id of
        that token; `now`: Redis's wall clock, in ms since 1970. Raises TooManyRequests if the user has too many that
        are unspent.
        """
        ticket = self._drawn()
        claims = {"user": user, "topics": list(topics), "expires": expires, "issued": now, "token": token}
        digest = hashed(ticket)
        names = [self._keys.ticket(digest), self._keys.unspent(user)]
        most = self._most_per_user
        wait_ms = self._store.execute_one(_ISSUE.call(names, digest, orjson.dumps(claims), ttl, most, MAX_TTL))
        if wait_ms:
            said = f"This user has {most} tickets that nobody has used (PUSHSVC_MAX_TICKETS_PER_USER); use one first."
            raise TooManyRequests(said, retry_after=math.ceil(wait_ms / 1000))
        return ticket

    def keep(self, ticket: str) -> None:
        """Prolong a fresh ticket whose stream was refused for now: it must not expire before its client retries."""
        self._store.execute_one(("EXPIRE", self._keys.ticket(hashed(ticket)), KEPT_SECONDS, "GT"))

    def revoke_all(self, user: str, now: int) -> None:
        """Make all tickets of a user void that were issued so far, and the cookies and proofs that came of them. `now`:
        Redis's wall clock, in ms since 1970. Raises Unavailable."""
        self._store.execute_one(("SET", self._keys.revoked(user), now, "EX", MAX_TTL + SESSION_SECONDS))

    def _is_revoked(self, claims: Mapping[str, Any]) -> bool:
        """Whether a ticket with these claims is void."""
        until = self._store.execute_one(("GET", self._keys.revoked(claims["user"])))
        return until is not None and claims.get("issued", 0) <= int(until)

    def admit(self, ticket: str, evidence: Evidence) -> Admission:
        """Accept a fresh ticket, one whose first response may be lost, or a client that proves it spent the ticket.
        Raises Unauthorized."""
        digest, brought = hashed(ticket), proof_in(evidence.last_event_id)
        names = [self._keys.ticket(digest), self._keys.spent_ticket(digest), self._keys.proof(hashed(brought or ""))]
        (fresh, spent, proven), (cursor, its_cookie) = self._store.execute(
            [("MGET", *names), ("HMGET", self._keys.ticket_use(digest), "cursor", "cookie")]
        )
        if fresh is None and spent is None:
            raise Unauthorized("The ticket is unknown, or has expired; ask for a new one.")
        claims = orjson.loads(fresh or spent)
        expires = self._check_claims(claims)
        user, topics, own = claims["user"], tuple(claims["topics"]), claims.get("session")
        sessions = self._sessions_of(user, evidence.cookies)
        # A cookie from another ticket of this user does not prove that the answer to this one has arrived.
        arrived = evidence.last_event_id or its_cookie in {hashed(cookie).encode() for cookie in sessions.values()}
        has_proof = brought is not None and proven == digest.encode()
        if fresh is not None:
            kind = Kind.FIRST
        elif cursor is not None and not arrived:
            kind = Kind.TAKE_OVER
        elif has_proof or (bool(sessions) if own is None else own in sessions):  # an earlier version kept no session
            kind = Kind.RETURN
            if cursor is not None:
                with contextlib.suppress(Unwritable):  # it expires by itself
                    self._store.execute_one(("DEL", self._keys.ticket_use(digest)))
        else:
            raise SpentTicket(user, topics)
        comes_back = bool(sessions) or (evidence.same_origin and not has_proof)  # the cookie, so the ids need no proof
        use = Use(
            ticket,
            kind,
            None if comes_back and not evidence.by_id else brought if has_proof else self._drawn(),
            has_proof,
            EventId.from_redis(cursor) if cursor and not evidence.last_event_id else None,
            own or next(filter(None, reversed(sessions)), "") or secrets.token_hex(4),
        )
        identity = Identity(user, subscribe=topics, expires=expires, token=claims.get("token"), ticket=True)
        return Admission(identity, topics, use)

    def _check_claims(self, claims: Mapping[str, Any]) -> float:
        """The time at which a stream with these claims ends, as Unix time. Raises Unauthorized if they are void."""
        if self._is_revoked(claims):
            raise Unauthorized("An admin has ended the connections of this user; ask for a new ticket.")
        expires: float = min(claims["expires"] or float("inf"), time.time() + SESSION_SECONDS)
        if expires <= time.time():
            raise Unauthorized("The ticket has expired with the token that it was made with; ask for a new one.")
        return expires

    def _sessions_of(self, user: str, cookies: Mapping[str, str]) -> dict[str, str]:
        """The sessions of the user that this browser has, with their cookies; the name is empty if an earlier version
        made it."""
        found = {}
        for key in self._every_key:
            name = cookie_name(user, key)
            named = (each for each in cookies if each == name or each.startswith(f"{name}_"))
            for each in itertools.islice(named, _MOST_SESSIONS):
                with contextlib.suppress(Unauthorized):
                    identity = self._verifier.verify(cookies[each])
                    if identity.user in (user, mark(user, key)):
                        found[(identity.token or "")[:-_MARK_CHARACTERS]] = cookies[each]
        return found

    def begin(self, use: Use, user: str, stream: str, cursor: EventId | None) -> Begun:
        """Spend a fresh ticket: the `stream` of this name is accepted, and begins at the `cursor` (None: at the oldest
        event). Each reconnect renews the client's session. Raises Unauthorized if another request spent it first."""
        digest = hashed(use.ticket)
        claims = {"sub": short_name(user, self._key), "jti": f"{use.session}{digest[:_MARK_CHARACTERS]}"}
        cookie = auth.encode(claims, self._key, ttl=SESSION_SECONDS)
        earlier = b""
        if use.kind is Kind.RETURN:
            with contextlib.suppress(Unwritable):  # the session lasts as long as before
                self._store.execute(self._renewals(use, digest))
        else:
            earlier = self._spend(use, user, stream, cursor, hashed(cookie))
        return Begun(f"{cookie_name(user, self._key)}_{use.session}", cookie, earlier.decode())

    def _spend(self, use: Use, user: str, stream: str, cursor: EventId | None, cookie: str) -> bytes:
        keys, first, digest = self._keys, use.kind is Kind.FIRST, hashed(use.ticket)
        names = [keys.ticket(digest), keys.spent_ticket(digest), keys.ticket_use(digest), keys.ticket_proof(digest)]
        proven = "" if use.proof is None else hashed(use.proof)
        earlier: bytes | list[bytes] | None = [b""]
        while isinstance(earlier, list):  # the ticket has another proof than this one
            before = earlier[0].decode()
            earlier = self._store.execute_one(
                _SPEND.call(
                    [*names, keys.proof(before), keys.proof(proven), keys.unspent(user)],
                    SESSION_SECONDS, int(TAKE_OVER_SECONDS * 1000), int(first), stream,
                    "" if cursor is None else str(cursor), cookie, digest, before, proven,
                    use.session,
                )
            )  # fmt: skip
        if earlier is None:
            raise (LostRace if first else Unauthorized)("The ticket was used already; ask for a new one.")
        return earlier

    def _renewals(self, use: Use, digest: str) -> list[Command]:
        keys = self._keys
        renewals: list[Command] = [("EXPIRE", keys.spent_ticket(digest), SESSION_SECONDS)]
        if use.proof is not None and use.brought:
            held = keys.ticket_proof(digest), keys.proof(hashed(use.proof))
            renewals += [("EXPIRE", each, SESSION_SECONDS) for each in held]
        elif use.proof is not None:
            earlier = self._store.execute_one(("GET", keys.ticket_proof(digest)))
            if earlier is not None:
                renewals.append(("DEL", keys.proof(earlier.decode())))
            proven = hashed(use.proof)
            renewals.append(("SET", keys.ticket_proof(digest), proven, "EX", SESSION_SECONDS))
            renewals.append(("SET", keys.proof(proven), digest, "EX", SESSION_SECONDS))
        return renewals

    def user_of(self, proof: str) -> str | None:
        """The user whose ticket's stream has this proof in its ids. None: it is nobody's."""
        digest = self._store.execute_one(("GET", self._keys.proof(hashed(proof))))
        if digest is None:
            return None
        # The client has sent the proof, so the stream can no longer be taken over.
        claims, _ = self._store.execute(
            [("GET", self._keys.spent_ticket(digest.decode())), ("DEL", self._keys.ticket_use(digest.decode()))]
        )
        known: dict[str, Any] = {} if claims is None else orjson.loads(claims)
        over = not known or (known.get("expires") or float("inf")) <= time.time() or self._is_revoked(known)
        return None if over else known.get("user")

    def revoke(self, proofs: Sequence[str]) -> None:
        """Delete proofs that others may have seen."""
        self._store.execute_one(("DEL", *(self._keys.proof(hashed(proof)) for proof in proofs)))

    def reading(self, generation_id: str) -> str:
        """Make a ticket for a URL that lets anybody read one answer, any number of times, for READING_SECONDS. Nothing
        is stored."""
        return reading_ticket(generation_id, self._key, int(time.time()) + READING_SECONDS)

    def opens(self, ticket: str, generation_id: str, began: Callable[[], float]) -> bool:
        """Whether `reading` made the ticket for this generation, not too long ago. `began`: when the generation did
        (Unix time); a ticket that an earlier version made says no end, and counts from then."""
        end, dot, _ = ticket.partition(".")
        given = ticket.encode("utf-8", "surrogateescape")
        if dot and not (end.isascii() and end.isdigit() and len(end) < 12 and int(end) > time.time()):
            return False
        tickets = (reading_ticket(generation_id, key, int(end) if dot else None) for key in self._every_key)
        if not any(hmac.compare_digest(given, each.encode()) for each in tickets):
            return False
        return bool(dot) or began() + READING_SECONDS > time.time()

    def _drawn(self) -> str:
        """A random secret that maps to this partition."""
        return self._keys.draw(lambda: secrets.token_urlsafe(24))


def reading_ticket(generation_id: str, key: str, end: int | None) -> str:
    """The ticket in the URL of an answer. `end`: the Unix time until which it is good; None: as an earlier version made
    it."""
    said = f"reading:{generation_id}" if end is None else f"reading until {end}:{generation_id}"
    mark = hmac.digest(key.encode(), said.encode(), "sha256").hex()[:48]
    return mark if end is None else f"{end}.{mark}"


def hashed(secret: str) -> str:
    """The hash under which Redis keeps a secret, so that stolen data cannot be used."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
