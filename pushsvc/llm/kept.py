"""The answers of a user that are kept: those of a conversation, and those that an API stores, to be listed, described
anew and deleted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import orjson

from pushsvc.concurrency.shares import SharedSlice
from pushsvc.events import exact_json
from pushsvc.llm.asked import Asked
from pushsvc.llm.outcome import COMPLETED, RUNNING
from pushsvc.llm.record import Record
from pushsvc.llm.repeats import RepeatKey
from pushsvc.llm.store import Records
from pushsvc.storage.redis.client import RedisClient

MOST_LOOKED_AT: Final = 5000  # generations of a user
AT_ONCE: Final = 500  # in one round trip

_STORED: Final = (b"state", b"asked", b"metadata", b"completion", b"about")


class Stored(NamedTuple):
    """A stored answer as it is found. `name`: the id by which its API knows it, None: not known yet; `model`: the one
    that was asked."""

    id: str
    asked: Asked
    name: str | None
    model: str


class Kept:
    """Finds and changes what is kept of a user's answers."""

    def __init__(self, store: RedisClient, records: Records) -> None:
        self._store = store
        self._keys = store.keys
        self._records = records

    def running(self, user: str, conversation: str) -> list[Record]:
        """The answers in this conversation that are being made."""
        ids = [each.decode() for each in self._store.execute_one(("SMEMBERS", self._keys.running(user)))]
        found = [self._records.find(each) for each in self._named(ids, conversation)]
        return [record for record in found if record is not None and record.state == RUNNING]

    def repeated(self, user: str, key: RepeatKey | None) -> str | None:
        """The answer that was begun with this key, and runs or is complete; see begin.lua. None: there is none, or the
        question is new whoever had the key."""
        if key is None or key.first:
            return None
        held = self._store.execute_one(("GET", self._keys.generation_key(user, key.word)))
        if held is None or self._records.states([held.decode()])[0] not in (RUNNING, COMPLETED):
            return None
        return str(held.decode())

    def last(self, user: str, conversation: str) -> Record | None:
        """The newest answer in this conversation. None: there is none."""
        for ids in self._newest_first(user):
            for each in self._named(ids, conversation):
                return self._records.find(each)
        return None

    def _named(self, ids: list[str], conversation: str) -> Iterator[str]:
        names = self._store.execute([("HGET", self._keys.generation(each), "conversation") for each in ids])
        wanted = conversation.encode()
        return (each for each, name in zip(ids, names, strict=True) if name == wanted)

    def _newest_first(self, user: str) -> Iterator[list[str]]:
        for start in range(0, MOST_LOOKED_AT, AT_ONCE):
            page = self._store.execute_one(("ZREVRANGE", self._keys.generations(user), start, start + AT_ONCE - 1))
            if page:
                yield [each.decode() for each in page]
            if len(page) < AT_ONCE:
                return

    def stored(self, user: str, api: str) -> Iterator[Stored]:
        """The complete answers of a user that this API stores, newest first."""
        turn = SharedSlice()
        for ids in self._newest_first(user):
            found = self._store.execute([("HMGET", self._keys.generation(each), *_STORED) for each in ids])
            for each, (state, asked, metadata, name, about) in zip(ids, found, strict=True):
                turn.yield_if_over()
                kept = Asked.of(asked, None, metadata)
                if state == b"completed" and kept.stored and kept.api == api:
                    model = "" if about is None else orjson.loads(about)[0]
                    yield Stored(each, kept, None if name is None else name.decode(), model)

    def name(self, generation_id: str, name: str) -> None:
        """Note the id by which its API knows an answer."""
        self._records.keep(generation_id, "completion", name.encode())

    def describe(self, generation_id: str, metadata: Mapping[str, str]) -> None:
        """Replace a client's metadata."""
        self._records.keep(generation_id, "metadata", exact_json.dumps(dict(metadata), lone=True))

    def delete(self, record: Record) -> bool:
        """Delete an answer with everything that belongs to it. False: it still runs."""
        return bool(self._records.forget(record.user, [record.id]))
