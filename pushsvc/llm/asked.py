"""The facts that are kept of a question beside what the model gets: by which API it was asked, and what that tells
again."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pushsvc.events import exact_json

CHAT: Final = "chat"
RESPONSES: Final = "responses"
UI: Final = "ui"

MOST_NAME: Final = 255  # characters of a conversation's name
MOST_PAIRS: Final = 16  # of metadata, as OpenAI's API has it
MOST_KEY: Final = 64  # characters
MOST_VALUE: Final = 512

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Asked(NamedTuple):
    """The way in which a question was asked. `api`: one of the names above; `stored`: the answer can be retrieved and
    listed by that API; `conversation`: the name that the client gave it, empty: none; `members`: those of the request
    that the API tells again with the answer; `metadata`: the client's own pairs."""

    api: str = CHAT
    stored: bool = False
    conversation: str = ""
    members: Mapping[str, Any] = _NOTHING
    metadata: Mapping[str, str] = _NOTHING

    def fields(self) -> list[str | bytes]:
        """The fields and values that keep it in Redis; none for an ordinary question."""
        found: list[str | bytes] = []
        if self != PLAIN:
            found += ["asked", exact_json.dumps([self.api, self.stored, dict(self.members)], lone=True)]
        if self.conversation:
            found += ["conversation", self.conversation]
        if self.metadata:
            found += ["metadata", exact_json.dumps(dict(self.metadata), lone=True)]
        return found

    @classmethod
    def of(cls, asked: bytes | None, conversation: bytes | None, metadata: bytes | None) -> Asked:
        """Read it from the values of these fields."""
        api, stored, members = (CHAT, False, {}) if asked is None else exact_json.loads(asked)
        pairs = {} if metadata is None else exact_json.loads(metadata)
        return cls(api, stored, (conversation or b"").decode(), members, pairs)


PLAIN: Final = Asked()
FIELDS: Final = (b"asked", b"conversation", b"metadata")


def wrong_metadata(value: object) -> str | None:
    """The fault in a client's metadata, as the rest of a sentence. None: nothing."""
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        return "must be an object whose values are strings."
    if len(value) > MOST_PAIRS:
        return f"must have at most {MOST_PAIRS} pairs."
    if any(len(key) > MOST_KEY or len(each) > MOST_VALUE for key, each in value.items()):
        return f"must have keys of at most {MOST_KEY} characters, and values of at most {MOST_VALUE}."
    return None
