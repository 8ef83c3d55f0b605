"""Events as the service takes them, and its answers to them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypedDict

from pushsvc.client.errors import PublishError, from_problem
from pushsvc.client.results import Receipt

BATCH_EVENTS: Final = 500  # of one request; the service takes MAX_BATCH, 1000 by default
BATCH_BYTES: Final = 4 * 2**20


class Json(str):
    """An item in JSON, whose numbers keep their digits."""

    __slots__ = ()


Item = Mapping[str, Any] | Json
Answer = Mapping[str, Any]


class Prepared(NamedTuple):
    """An item with a key, in JSON. `own`: the key was drawn here, so a repeat is a repeat of our own."""

    body: bytes
    key: str
    own: bool
    events: int


class Target(TypedDict, total=False):
    """The receivers of an event, exactly one of `user`, `users`, `topic` and `all`; its name, its idempotency key, and
    the seconds after which it is no longer delivered."""

    user: str | None
    users: Sequence[str] | None
    topic: str | None
    all: bool
    event: str | None
    key: str | None
    ttl: int | None


def item(
    data: Any,
    *,
    user: str | None = None,
    users: Sequence[str] | None = None,
    topic: str | None = None,
    all: bool = False,
    event: str | None = None,
    key: str | None = None,
    ttl: int | None = None,
) -> dict[str, Any]:
    """An item of what was given. What is wrong with it the service says."""
    given: dict[str, Any] = {}
    for name, value in (("user", user), ("users", users), ("topic", topic), ("event", event), ("key", key)):
        if value is not None:
            given[name] = value if name != "users" else list(value)
    if all:
        given["all"] = True
    if ttl is not None:
        given["ttl"] = ttl
    given["data"] = data
    return given


def prepare(given: Item) -> Prepared:
    """Give the item a key, without which no retry would be safe. Raises TypeError, or ValueError for what JSON cannot
    carry."""
    if isinstance(given, Json):
        return _prepare_text(given)
    own = given.get("key") is None
    key = secrets.token_hex(16) if own else given["key"]
    whole = {**given, "key": key}
    users = given.get("users")
    body = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Prepared(body, key, own, len(users) if isinstance(users, list) else 1)


def _prepare_text(text: Json) -> Prepared:
    whole = json.loads(text, parse_float=str, parse_int=str)
    if not isinstance(whole, dict):
        raise ValueError("an event is a JSON object")
    own = "key" not in whole
    key = secrets.token_hex(16) if own else str(whole["key"])
    body = text.strip()
    if own:
        body = f'{body[:-1]}{"," if whole else ""}"key":"{key}"}}'
    users = whole.get("users")
    return Prepared(body.encode(), key, own, len(users) if isinstance(users, list) else 1)


def read_answer(answer: Answer, prepared: Prepared) -> Receipt | PublishError:
    """The receipt, or the error, that the service answers an item with."""
    if "results" in answer:
        return _several(answer["results"], prepared)
    if "error" in answer:
        return from_problem(PublishError, answer["error"]).of(prepared.key)
    return Receipt(str(answer["id"]), bool(answer["duplicate"]) and not prepared.own)


def _several(results: Iterable[Answer], prepared: Prepared) -> Receipt | PublishError:
    users = {str(each["user"]): read_answer(each, prepared) for each in results}
    receipts = [each for each in users.values() if isinstance(each, Receipt)]
    refused = [each for each in users.values() if isinstance(each, PublishError)]
    if not refused:
        return Receipt(receipts[-1].id, all(each.duplicate for each in receipts), users)
    first = refused[0]
    return PublishError(
        f"{len(refused)} of {len(users)} users: {first.detail}",
        status=first.status,
        errors=first.errors,
        temporary=any(each.temporary for each in refused),
    ).of(prepared.key)


def batches(prepared: Iterable[Prepared]) -> Iterator[list[Prepared]]:
    """Split into as many as one request may bring."""
    batch: list[Prepared] = []
    events = size = 0
    for each in prepared:
        if batch and (events + each.events > BATCH_EVENTS or size + len(each.body) > BATCH_BYTES):
            yield batch
            batch, events, size = [], 0, 0
        batch.append(each)
        events += each.events
        size += len(each.body)
    if batch:
        yield batch
