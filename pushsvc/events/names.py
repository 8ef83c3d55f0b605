"""The names of users, topics and channels, and the checks of those that clients send."""

from __future__ import annotations

import re
from typing import Final

from pushsvc.errors import Invalid

# A name holds no white space, control characters or surrogates (Unicode's Z*, Cc and Cs), and no character that lists
# or patterns use. Format characters (Cf) are allowed, as some scripts need joiners; so logs escape names.
_NAME: Final = re.compile(
    r"[^\x00-\x20\x7f-\xa0,*\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff]{1,255}"
)
_ANSWER: Final = "answer:"
TOPIC: Final = "topic:"
ALL: Final = "all"  # the channel that every stream reads
MAX_TOPICS: Final = 100  # a replay reads every channel of the connection: the bound keeps one join cheap


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
    return f"{TOPIC}{checked_name(topic, field)}"


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
