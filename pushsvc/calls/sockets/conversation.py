"""The requests of a WebSocket's client once it is open: each message is a call, and has an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pushsvc.auth import Identity
from pushsvc.calls.acknowledging import acknowledge
from pushsvc.calls.arguments import read_json
from pushsvc.calls.listening import record_for
from pushsvc.calls.publish import publisher_for
from pushsvc.calls.sockets.dialogue import Refused
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.errors import Invalid, Later, PushError
from pushsvc.events import exact_json, websocket
from pushsvc.events.exact_json import Doubled
from pushsvc.events.names import checked_topics, printable
from pushsvc.partition import Partition
from pushsvc.service import Service

MOST_GARBAGE: Final = 20  # messages in a row that are none of ours
LONGEST_REF: Final = 100  # characters
_LARGEST_REF: Final = 2**53  # beyond it JavaScript's numbers are not exact

Json = dict[str, Any]
_TOPICS: Final = "topic:"


class Garbage(Invalid):
    """A message that no client of ours sends."""


class Conversation:
    """Answers the messages of one client, within the rights of the credential that opened the connection."""

    __slots__ = ("_garbage", "_identity", "_partition", "_service", "subscriber")

    def __init__(self, service: Service, partition: Partition, identity: Identity, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self._service = service
        self._partition = partition
        self._identity = identity
        self._garbage = 0

    def take(self, message: bytes) -> None:
        """Answer a message. Raises Refused when there was nothing but garbage for long."""
        answer: Json = {"type": "error"}
        try:
            asked = self._read(message)
            if "ref" in asked:
                answer["ref"] = _ref(asked.pop("ref"))
            answer |= self._verb(asked.pop("type", None))(self, asked)
            self._garbage = 0
        except PushError as error:
            self._count(error)
            answer |= _told(error)
        self._partition.hub.lifetimes.say(self.subscriber, websocket.text(answer))

    def _read(self, message: bytes) -> Json:
        try:
            asked = read_json(exact_json.loads_items, message, self._service.limits.item_values, "message")
        except Invalid as error:
            raise Garbage(error.detail) from error
        if isinstance(asked, Doubled):
            raise Garbage(f"The message is refused: {asked}.")
        if not isinstance(asked, dict):
            raise Garbage("The message must be a JSON object.")
        return asked

    def _count(self, error: PushError) -> None:
        self._garbage = self._garbage + 1 if isinstance(error, Garbage) else 0
        if self._garbage >= MOST_GARBAGE:
            raise Refused(websocket.POLICY, f"{MOST_GARBAGE} messages in a row were none of this service.")

    @staticmethod
    def _verb(name: object) -> Callable[[Conversation, Json], Json]:
        verb = _VERBS.get(name) if isinstance(name, str) else None
        if verb is None:
            raise Garbage.field("type", f"must be one of {', '.join(_VERBS)}.")
        return verb

    def _subscribe(self, asked: Json) -> Json:
        channels = self.subscriber.channels
        wanted = tuple(dict.fromkeys([*channels, *_topics(asked)]))
        self._identity.need_subscribe(wanted)
        checked_topics([name for name in wanted if name.startswith(_TOPICS)])  # counts all of them
        return self._follow(wanted)

    def _unsubscribe(self, asked: Json) -> Json:
        gone = _topics(asked)
        return self._follow(tuple(name for name in self.subscriber.channels if name not in gone))

    def _follow(self, channels: tuple[str, ...]) -> Json:
        if channels != self.subscriber.channels:
            self._partition.hub.change_channels(self.subscriber, channels)
        topics = [name.removeprefix(_TOPICS) for name in channels if name.startswith(_TOPICS)]
        return {"type": "ok", "topics": topics}

    def _publish(self, asked: Json) -> Json:
        return {"type": "ok"} | publisher_for(self._service, self._identity).publish(asked, None)

    def _ack(self, asked: Json) -> Json:
        _need(asked, "id")
        acknowledge(self._partition, self._identity.need_user(), asked["id"])
        return {"type": "ok"}

    def _cancel(self, asked: Json) -> Json:
        _need(asked, "id")
        name = asked["id"]
        if not isinstance(name, str) or not name.isascii():
            raise Invalid.field("id", "must be the id of a generation.")
        partition = self._service.partition_of(name)
        record = record_for(self._identity, partition, name)
        if record.ending is None:
            partition.generations.cancel(record)
            record = partition.generations.records.get(name)
        return {"type": "ok", "id": record.id, "state": record.state}

    def _ping(self, asked: Json) -> Json:
        _need(asked)
        return {"type": "pong"}


_VERBS: Final[dict[str, Callable[[Conversation, Json], Json]]] = {
    "subscribe": Conversation._subscribe,  # noqa: SLF001  # named here, once the class is there
    "unsubscribe": Conversation._unsubscribe,  # noqa: SLF001
    "publish": Conversation._publish,  # noqa: SLF001
    "ack": Conversation._ack,  # noqa: SLF001
    "cancel": Conversation._cancel,  # noqa: SLF001
    "ping": Conversation._ping,  # noqa: SLF001
}


def _ref(given: object) -> str | int | None:
    """The word by which a client knows the answer to its message."""
    if given is None or (type(given) is int and abs(given) <= _LARGEST_REF):
        return given
    if not isinstance(given, str) or len(given) > LONGEST_REF or not given.isprintable():
        raise Garbage.field("ref", f"must be a whole number, or a string of at most {LONGEST_REF} characters.")
    return given


def _topics(asked: Json) -> tuple[str, ...]:
    _need(asked, "topics")
    return checked_topics(asked["topics"])


def _need(asked: Json, *names: str) -> None:
    """Check that a message has these members, and no others."""
    for name in names:
        if name not in asked:
            raise Invalid.field(name, "is missing.")
    for name in asked:
        if name not in names:
            raise Invalid.field(printable(name), "is not a field here.")


def _told(error: PushError) -> Json:
    """The members of an error: those of its problem document but the type, which is the message's."""
    members = {name: value for name, value in error.problem().items() if name != "type"}
    return members | ({"retry_after": error.retry_after} if isinstance(error, Later) else {})
