"""The things that a client shows when it comes with a ticket, and what it is admitted to."""

from __future__ import annotations

import enum
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pushsvc.auth import Identity
from pushsvc.errors import Unauthorized
from pushsvc.events.event import EventId

COOKIE_PREFIX: Final = "pushsvc_session_"
_LONGEST_IN_COOKIE: Final = 64  # bytes of a name; written as JSON in base64 they may take six times as many


class Evidence(NamedTuple):
    """The parts of a request that back its ticket. `last_event_id`: its header. `by_id`: do not rely on cookies, even
    if the client sends one."""

    cookies: Mapping[str, str]
    last_event_id: str
    same_origin: bool
    by_id: bool


class Kind(enum.Enum):
    """The kind of a ticket's use."""

    FIRST = "the first"
    TAKE_OVER = "a repeat of it, whose answer went astray"
    RETURN = "a reconnect"


@dataclass(frozen=True, slots=True)
class Use:
    """The use of a valid ticket, for a stream that is yet to begin."""

    ticket: str
    kind: Kind
    proof: str | None = None  # for the stream's ids
    brought: bool = False  # this proof came from the client
    cursor: EventId | None = None  # where the stream begins; overrides its URL
    session: str = ""  # whose cookie opens the ticket again


@dataclass(frozen=True, slots=True)
class Admission:
    """The result of admitting a caller: who they are, and the topic channels they read. `use`: of their ticket,
    if a ticket admits them."""

    identity: Identity
    topics: tuple[str, ...] = ()
    use: Use | None = None

    @property
    def proof(self) -> str | None:
        """The proof that the stream's ids carry, None if they carry none."""
        return None if self.use is None else self.use.proof


class Begun(NamedTuple):
    """A ticket's stream has begun: the cookie to set, and the earlier stream that this one takes over ('': none)."""

    cookie_name: str
    cookie: str
    earlier: str


class SpentTicket(Unauthorized):
    """A ticket was used, and the client does not prove that it used it. The ticket was for this `user` and these topic
    channels."""

    def __init__(self, user: str, topics: tuple[str, ...]) -> None:
        super().__init__("The ticket was used already; ask for a new one.")
        self.user = user
        self.topics = topics


class LostRace(Unauthorized):
    """Another request used this ticket first; its stream may be taken over."""


def cookie_name(user: str, key: str) -> str:
    """The beginning of the names of the cookies that a user's tickets give a browser; an earlier version's end there.
    `key`: the one that signs it."""
    return COOKIE_PREFIX + mark(user, key)[:16]


def short_name(user: str, key: str) -> str:
    """A short name for the user: a name of 255 characters makes a cookie that exceeds nginx's buffer for a response's
    head."""
    return user if len(user.encode()) <= _LONGEST_IN_COOKIE else mark(user, key)


def mark(user: str, key: str) -> str:
    """A name for the user which only who has the key can make."""
    return hmac.digest(key.encode(), user.encode(), "sha256").hex()
