"""The JSON that calls take and answer with, as JSON Schema (draft 2020-12)."""

from __future__ import annotations

from typing import Any, Final

from pushsvc.events.event import RESERVED
from pushsvc.events.names import MAX_TOPICS
from pushsvc.events.publication import MAX_EVENT_NAME, MAX_KEY, MAX_TTL, Limits
from pushsvc.storage.tickets import tickets

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NAME: Final[Schema] = {
    "type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[^\s,*]+$",
    "description": "Any script, without white space, control characters, commas and asterisks.",
}  # fmt: skip
EVENT_ID: Final[Schema] = {"type": "string", "description": "Opaque.", "examples": ["1795229804123-0"]}
CHANNEL: Final[Schema] = {"type": "string", "pattern": "^(all|(user|topic):.+)$", "examples": ["user:alice"]}


def ref(name: str) -> Schema:
    """A schema of this document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(properties: dict[str, Schema], *required: str, closed: bool = False) -> Schema:
    """An object. `closed`: it may have no other members."""
    found: Schema = {"type": "object", "properties": properties}
    if required:
        found["required"] = list(required)
    return found | ({"additionalProperties": False} if closed else {})


def listed(items: Schema, most: int | None = None) -> Schema:
    """A list of these."""
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def all_schemas(limits: Limits) -> dict[str, Schema]:
    """The schemas by name, with the limits of this service."""
    return _publishing(limits) | _reading() | _operating() | _answers()


def _publishing(limits: Limits) -> dict[str, Schema]:
    targets: dict[str, Schema] = {
        "user": NAME,
        "users": listed(NAME, limits.batch) | {"minItems": 1, "uniqueItems": True},
        "topic": NAME,
        "all": {"const": True},
    }
    rest: dict[str, Schema] = {
        "event": {
            "type": "string", "minLength": 1, "maxLength": MAX_EVENT_NAME, "default": "message",
            "not": {"enum": sorted(RESERVED)}, "description": "The event's name, without line breaks.",
        },
        "data": {"description": f"A string goes out as it is, other JSON compact; at most {limits.event_bytes} bytes."},
        "key": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "description": "Idempotency key."},
        "ttl": {"type": "integer", "minimum": 1, "maximum": MAX_TTL, "description": "Seconds."},
    }  # fmt: skip
    return {
        "Event": obj(targets | rest, closed=True) | {"oneOf": [{"required": [name]} for name in targets]},
        "Receipt": obj({"id": EVENT_ID, "duplicate": {"type": "boolean"}}, "id", "duplicate"),
        "Receipts": obj({"results": listed({"type": "object"})}, "results"),
        "Problem": obj(
            {
                "type": TEXT,
                "title": TEXT,
                "status": {"type": "integer"},
                "detail": TEXT,
                "errors": {"type": "object", "additionalProperties": TEXT},
            },
            "type",
            "title",
            "status",
            "detail",
        ),
        "OpenAIError": obj({"error": obj({"message": TEXT, "type": TEXT}, "message")}, "error"),
    }


def _reading() -> dict[str, Schema]:
    gap = obj(
        {
            "requested": nullable(EVENT_ID),
            "oldest": nullable(EVENT_ID),
            "reason": {"enum": ["trimmed", "expired", "reset"]},
        },
        "requested",
        "oldest",
        "reason",
    )
    kept = obj({"id": EVENT_ID, "event": TEXT, "data": TEXT}, "id", "event", "data")
    topics = listed(NAME, MAX_TOPICS)
    ttl: Schema = {"type": "integer", "minimum": 1, "maximum": tickets.MAX_TTL, "default": tickets.DEFAULT_TTL}
    return {
        "Gap": gap,
        "Page": obj({"events": listed(kept), "next": nullable(EVENT_ID), "gap": ref("Gap")}, "events", "next"),
        "Unread": obj({"unread": {"type": "integer"}, "id": nullable(EVENT_ID), "gap": ref("Gap")}, "unread", "id"),
        "Ack": obj({"id": EVENT_ID}, "id", closed=True),
        "TicketWish": obj({"user": NAME, "topics": topics, "ttl": ttl}, closed=True),
        "Ticket": obj(
            {
                "ticket": TEXT,
                "expires_in": {"type": "integer"},
                "url": TEXT,
                "cursor": EVENT_ID,
            },
            "ticket",
            "expires_in",
            "url",
            "cursor",
        ),
    }


def _operating() -> dict[str, Schema]:
    present = obj(
        {
            "user": NAME,
            "connections": {"type": "integer", "minimum": 1},
            "since": nullable({"type": "string", "format": "date-time"}),
            "workers": listed(TEXT),
        },
        "user",
        "connections",
        "since",
        "workers",
    )
    return {
        "Presence": obj({"users": listed(present), "next": nullable(NAME), "silent": listed(TEXT)}, "users", "next"),
        "Cut": obj({"user": NAME, "connections": {"type": "integer"}, "jti": TEXT}),
        "Alive": obj({"status": {"const": "alive"}}, "status"),
        "Ready": obj({"status": {"const": "ready"}, "problems": listed(TEXT)}, "status"),
    }


def _answers() -> dict[str, Schema]:
    question = obj(
        {
            "model": TEXT,
            "messages": listed({"type": "object"}) | {"minItems": 1},
            "stream": {"type": "boolean", "default": False},
        },
        "messages",
    )
    state = obj({"id": TEXT, "state": TEXT, "text": TEXT}, "id", "state")
    models = obj({"object": {"const": "list"}, "data": listed(obj({"id": TEXT}, "id"))}, "object", "data")
    return {
        "Question": question,
        "Completion": obj({"id": TEXT, "choices": listed({"type": "object"})}, "choices"),
        "Begun": obj({"id": TEXT, "url": TEXT}, "id", "url"),
        "Generation": state,
        "Generations": obj(
            {"object": {"const": "list"}, "data": listed(ref("Generation")), "has_more": {"type": "boolean"}}
        ),
        "Models": models,
        "Model": obj({"id": TEXT}, "id"),
    }
