"""Events, ids and channels, and the checks of those that clients send. Pure: no clock, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pushsvc.errors import Invalid, TooLarge
from pushsvc.events import exact_json
from pushsvc.events.exact_json import Doubled, LoneSurrogate, NotJson

# A name holds no white space, control characters or surrogates (Unicode's Z*, Cc and Cs), and no character that lists
# or patterns use. Format characters (Cf) are allowed, as some scripts need joiners; so logs escape names.
_NAME: Final = re.compile(
    r"[^\x00-\x20\x7f-\xa0,*\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff]{1,255}"
)
_ID: Final = re.compile(r"(0|[1-9][0-9]{0,19})-(0|[1-9][0-9]{0,19})")
_LINE_BREAK_OR_NUL: Final = re.compile(r"[\r\n\0]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_HALF: Final = "holds half of a surrogate pair, which is no character."
_UINT64_MAX: Final = 2**64 - 1

_ANSWER: Final = "answer:"
ALL: Final = "all"  # the channel that every stream reads
GAP: Final = "gap"
RESERVED: Final = frozenset({GAP, "cursor", "refused", "heartbeat"})  # only the service may send these names
MAX_EVENT_NAME: Final = 128  # characters
MAX_TOPICS: Final = 100  # a replay reads every channel of the connection: the bound keeps one join cheap
MAX_KEY: Final = 256  # characters
MAX_TTL: Final = 10 * 365 * 86400  # seconds; keeps deadlines well within the range of Redis's numbers


class EventId(NamedTuple):
    """`<ms>-<seq>`: larger than every earlier id of its partition, so ids order as tuples.

    The clock in Redis draws ids. `ms`: its wall clock in milliseconds, or later.
    """

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str, field: str = "id") -> EventId:
        """Read an id that a client sent; raises Invalid, naming `field`."""
        match = _ID.fullmatch(text)
        if match is None:
            raise Invalid.field(field, "must be an event id such as 1795229804123-0.")
        event_id = cls(int(match[1]), int(match[2]))
        if max(event_id) > _UINT64_MAX:
            raise Invalid.field(field, "is larger than any event id can be.")
        return event_id

    @classmethod
    def from_redis(cls, raw: bytes) -> EventId:
        """Read an id from Redis, without checks."""
        ms, _, seq = raw.partition(b"-")
        return cls(int(ms), int(seq))


BEGINNING: Final = EventId(0, 0)  # before every event


@dataclass(frozen=True, slots=True)
class Event:
    """A checked event that a backend publishes.

    `data` is the text the browser reads as `MessageEvent.data`; `ttl` is in seconds; `key` makes repeats harmless.
    """

    channel: str
    name: str
    data: str
    key: str | None = None
    ttl: int | None = None


def answer_channel(generation_id: str) -> str:
    """The channel of a generation's frames; not for publishers."""
    return f"{_ANSWER}{generation_id}"


def generation_of(channel: str) -> str:
    """The id of the generation whose answer channel this is."""
    return channel.removeprefix(_ANSWER)


def answers_channel(user: str) -> str:
    """The channel that reports the begin and end of the user's generations; not for publishers."""
    return f"answers:{user}"


def user_of(channel: str) -> str | None:
    """The user who owns the channel. None: the channel has no owner."""
    kind, _, name = channel.partition(":")
    return name if kind == "user" else None


def user_channel(user: object, field: str = "user") -> str:
    """The channel of a user id, checked. Raises Invalid, naming `field`."""
    return f"user:{checked_name(user, field)}"


def topic_channel(topic: object, field: str = "topic") -> str:
    """The channel of a topic name, checked. Raises Invalid, naming `field`."""
    return f"topic:{checked_name(topic, field)}"


def checked_name(name: object, field: str) -> str:
    """Check a user id or topic name. Names are compared by code point. Raises Invalid, naming `field`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Invalid.field(field, "must be 1 to 255 characters without white space, control characters, commas and *.")
    return name


def checked_channel(channel: str, field: str = "channel") -> str:
    """Check `user:<id>`, `topic:<name>` or `all`. Raises Invalid, naming `field`."""
    kind, _, name = channel.partition(":")
    if channel == ALL:
        return channel
    if kind not in ("user", "topic"):
        raise Invalid.field(field, "must be user:<id>, topic:<name> or all.")
    checked_name(name, field)
    return channel


def checked_topics(topics: object, field: str = "topics") -> tuple[str, ...]:
    """The channels of a list of topic names, each once. Raises Invalid, naming `field`."""
    if not isinstance(topics, list):
        raise Invalid.field(field, "must be a list of topic names.")
    if len(topics) > MAX_TOPICS:
        raise Invalid.field(field, f"holds {len(topics)} names, at most {MAX_TOPICS} fit one connection.")
    return tuple(dict.fromkeys(topic_channel(topic, field) for topic in topics))


def printable(field: str) -> str:
    """A name that a client sent, cut and escaped so that an error may repeat it."""
    return field[:80].encode("utf-8", "backslashreplace").decode()


_FIELDS: Final = frozenset({"user", "users", "topic", "all", "event", "data", "key", "ttl"})
_TARGETS: Final = ("user", "users", "topic", "all")


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


def parse_publication(item: object, limits: Limits, header_key: str | None = None) -> Publication:
    """Check one publish item. `header_key` is the request's Idempotency-Key.

    Raises Invalid or TooLarge, naming the field.
    """
    if not isinstance(item, Mapping):
        raise Invalid(
            f"An event is refused: {item}." if isinstance(item, Doubled) else "An event must be a JSON object."
        )
    for field in item:
        if field not in _FIELDS:
            raise Invalid.field(printable(field), "is not a field of an event.")
    channels, users = _targets(item, limits)
    name = _event_name(item.get("event", "message"))
    data = _data(item, limits)
    key = _key(item.get("key"), header_key)
    ttl = _ttl(item.get("ttl"))
    return Publication(tuple(Event(channel, name, data, key, ttl) for channel in channels), users)


def _targets(item: Mapping[str, Any], limits: Limits) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    named = [target for target in _TARGETS if target in item]
    if len(named) != 1:
        said = " and ".join(named) if named else "none of them"
        raise Invalid(
            f"Exactly one of user, users, topic and all names who gets the event; this one has {said}.",
            errors=dict.fromkeys(named or ("user",), "exactly one target is allowed."),
        )
    target = named[0]
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


def _data(item: Mapping[str, Any], limits: Limits) -> str:
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
