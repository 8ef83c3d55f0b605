"""The checks of what a client publishes: one item becomes an event, or the same event for several users."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from pushsvc.errors import Invalid, TooLarge
from pushsvc.events import exact_json
from pushsvc.events.event import RESERVED, Event
from pushsvc.events.exact_json import Doubled, LoneSurrogate, NotJson
from pushsvc.events.names import ALL, printable, topic_channel, user_channel

_LINE_BREAK_OR_NUL: Final = re.compile(r"[\r\n\0]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_HALF: Final = "holds half of a surrogate pair, which is no character."
MAX_EVENT_NAME: Final = 128  # characters
_OTHER_MEMBERS: Final = 16384  # bytes in JSON
_OTHER_VALUES: Final = 100
_BODY_BYTES: Final = 8 * 2**20  # what a worker holds; more is sent in several batches, or as a stream of lines
MAX_KEY: Final = 256  # characters
MAX_TTL: Final = 10 * 365 * 86400  # seconds; keeps deadlines well within the range of Redis's numbers

_TARGETS: Final = frozenset({"user", "users", "topic", "all"})
_FIELDS: Final = _TARGETS | {"event", "data", "key", "ttl"}


@dataclass(frozen=True, slots=True)
class Publication:
    """One item of a publish request: the same event for one channel, or for each of several users."""

    events: tuple[Event, ...]
    users: tuple[str, ...] | None  # the names as the client sent them, if the item has `users`


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits on what may be published, from the settings."""

    event_bytes: int
    batch: int

    @property
    def item_bytes(self) -> int:
        """The most that one event may take in JSON, which can write a byte in six; its list of users may be long."""
        return 6 * self.event_bytes + 1024 * self.batch + _OTHER_MEMBERS

    @property
    def item_values(self) -> int:
        """The most values that one event may have in JSON."""
        return self.event_bytes + self.batch + _OTHER_VALUES

    @property
    def body_bytes(self) -> int:
        """The most that one request may have."""
        return max(_BODY_BYTES, self.item_bytes)


def parse_publication(item: object, limits: Limits, header_key: str | None = None) -> Publication:
    """Check one publish item. `header_key` is the request's Idempotency-Key.

    Raises Invalid or TooLarge, naming the field.
    """
    if not isinstance(item, dict):
        raise Invalid(
            f"An event is refused: {item}." if isinstance(item, Doubled) else "An event must be a JSON object."
        )
    if unknown := item.keys() - _FIELDS:
        first = next(field for field in item if field in unknown)
        raise Invalid.field(printable(first), "is not a field of an event.")
    channels, users = _targets(item, limits)
    name = _event_name(item.get("event", "message"))
    data = _data(item, limits)
    key = _key(item.get("key"), header_key)
    ttl = _ttl(item.get("ttl"))
    return Publication(tuple([Event(channel, name, data, key, ttl) for channel in channels]), users)


def _targets(item: dict[str, Any], limits: Limits) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    named = item.keys() & _TARGETS
    if len(named) != 1:
        raise _not_one_target([target for target in ("user", "users", "topic", "all") if target in named])
    (target,) = named
    value = item[target]
    if target == "user":
        return (user_channel(value),), None
    if target == "topic":
        return (topic_channel(value),), None
    if target == "all":
        if value is not True:
            raise Invalid.field("all", "must be true.")
        return (ALL,), None
    return _many_users(value, limits)


def _not_one_target(named: list[str]) -> Invalid:
    said = " and ".join(named) if named else "none of them"
    return Invalid(
        f"Exactly one of user, users, topic and all names who gets the event; this one has {said}.",
        errors=dict.fromkeys(named or ("user",), "exactly one target is allowed."),
    )


def _many_users(users: object, limits: Limits) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not isinstance(users, list) or not users:
        raise Invalid.field("users", "must be a list of at least one user id.")
    if len(users) > limits.batch:
        raise TooLarge.field("users", f"holds {len(users)} ids, at most {limits.batch} are taken at once.")
    channels = tuple(user_channel(user, "users") for user in users)
    if len(set(channels)) != len(channels):
        raise Invalid.field("users", "names a user twice.")
    return channels, tuple(users)


def _event_name(name: object) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_EVENT_NAME:
        raise Invalid.field("event", f"must be a string of 1 to {MAX_EVENT_NAME} characters.")
    if _LINE_BREAK_OR_NUL.search(name):  # a line break would let the sender start another field
        raise Invalid.field("event", "must not contain a line break or NUL.")
    if _SURROGATE.search(name):
        raise Invalid.field("event", _HALF)
    if name in RESERVED:
        raise Invalid.field("event", f"{name!r} is spoken by the service alone.")
    return name


def _data(item: dict[str, Any], limits: Limits) -> str:
    if "data" not in item:
        raise Invalid.field("data", "is missing.")
    value = item["data"]
    try:
        data = value if isinstance(value, str) else exact_json.dumps(value).decode()
        size = len(data.encode())
    except (LoneSurrogate, UnicodeEncodeError) as error:
        raise Invalid.field("data", _HALF) from error
    except NotJson as error:
        raise Invalid.field("data", f"is refused: {error}.") from error
    except ValueError as error:  # it could be parsed, but is too deep to be written
        raise Invalid.field("data", "is nested too deeply.") from error
    if size > limits.event_bytes:
        raise TooLarge.field("data", f"is {size} bytes, at most {limits.event_bytes} are taken.")
    return data


def _key(key: object, header_key: str | None) -> str | None:
    if key is None:
        return checked_key(header_key, "Idempotency-Key")
    if header_key is not None and header_key != key:
        raise Invalid.field("key", "differs from the header Idempotency-Key.")
    return checked_key(key, "key")


def checked_key(key: object, field: str) -> str | None:
    """An idempotency key, if there is one. Raises Invalid, naming `field`."""
    if key is None:
        return None
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY or _CONTROL.search(key):
        raise Invalid.field(field, f"must be a string of 1 to {MAX_KEY} characters without control characters.")
    if _SURROGATE.search(key):
        raise Invalid.field(field, _HALF)
    return key


def _ttl(ttl: object) -> int | None:
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 1 <= ttl <= MAX_TTL:
        raise Invalid.field("ttl", f"must be a whole number of seconds from 1 to {MAX_TTL}.")
    return ttl
