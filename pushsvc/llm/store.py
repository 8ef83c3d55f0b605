"""Generations in Redis: a record of each, the generations of each user, and those that each worker runs. The chunks of
a generation are in the log, in a channel of its own."""

from __future__ import annotations

import contextlib
import secrets
import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from pushsvc.errors import NotFound, PushError, TooManyGenerations
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedEvent
from pushsvc.events.event import BEGINNING, EventId
from pushsvc.events.names import answer_channel, answers_channel
from pushsvc.llm.outcome import RUNNING, Ending
from pushsvc.llm.quota import QUESTION, Quota, size_of
from pushsvc.llm.record import FIELDS, Record
from pushsvc.llm.repeats import RepeatKey
from pushsvc.llm.request import Question
from pushsvc.storage.log import EventLog
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.retention import Retention

_BEGIN: Final = Script("answers/begin", after="log/log")
_SAY: Final = Script("answers/say", after="log/log")
_FINISH: Final = Script("answers/finish", after="log/log")

FEED_SECONDS: Final = 3600  # a page that was away for longer reads the list again anyway
FORGOTTEN_AT_ONCE: Final = 100  # generations that are deleted at once, of a user who has too many
READ_EVENTS: Final = 250  # of an answer at a time, which takes a millisecond
MOST_PAGE_BYTES: Final = 4 * 2**20  # of questions and answers that are listed together


class PendingFrames(NamedTuple):
    """Frames of a generation that are written together. `number`: counts the writes, so that a repeat is noticed."""

    id: str
    number: int
    frames: list[bytes]


def unknown(generation_id: str) -> NotFound:
    """The error for a generation that does not exist, or that the caller may not know of."""
    return NotFound(f"There is no generation {generation_id[:80]!r}.")


class Records:
    """Reads and changes generations in Redis. Every change is one script, so that a generation has exactly one
    beginning and one ending, even if several workers try."""

    def __init__(
        self,
        store: RedisClient,
        log: EventLog,
        worker_id: str,
        retention: Retention,
        *,
        most_per_user: int,
        most_bytes: int,
    ) -> None:
        """`most_per_user`: how many generations of one user may run at the same time. `most_bytes`: of the questions
        that are kept of one user."""
        self._store = store
        self._keys = store.keys
        self._log = log
        self._worker_id = worker_id
        self._retention = retention
        self._most_per_user = most_per_user
        self._quota = Quota(store, most_bytes, self.forget)

    def begin(
        self, user: str, question: Question, key: RepeatKey | None, more: Sequence[str | bytes] = ()
    ) -> tuple[str, bool]:
        """Begin a generation in this worker, and give its id and True. `more`: fields of its record. With a key that
        was used before, give the id of the generation that was begun then, and False. Raises
        TooManyGenerations, or Unavailable."""
        fields = [*question.fields(), *more]
        self._quota.make_room(user, size_of(fields))
        keys, retention = self._keys, self._retention
        new = keys.draw(lambda: f"gen_{secrets.token_hex(12)}")
        names = [*self._log_keys(answers_channel(user)), keys.generation(new), keys.generations(user)]
        names += [keys.running(user), keys.generating(self._worker_id), keys.producers]
        first, looked = "-" if key is not None and key.first else "", False
        while True:
            keyed = [] if key is None else [keys.generation_key(user, key.word), keys.generation(first)]
            word, *ids = self._store.execute_one(
                _BEGIN.call(
                    names + keyed, new, self._worker_id, retention.keep_seconds, retention.keep_events,
                    self._most_per_user, (key and key.seconds) or retention.dedupe_seconds, first, _news(new, RUNNING),
                    FEED_SECONDS, FORGOTTEN_AT_ONCE, "user", user, *fields,
                )
            )  # fmt: skip
            if word == b"other":
                first = ids[0].decode()
            elif word == b"full" and not looked:
                self._forget_ended(user)
                looked = True
            elif word == b"full":
                raise TooManyGenerations(
                    "This user has as many answers made as one may; try again later.", retry_after=2
                )
            else:
                self.forget(user, [each.decode() for each in ids])
                return (new, True) if word == b"begun" else (first, False)

    def forget_key(self, user: str, key: RepeatKey) -> None:
        """Have nobody join the answer with this key any more."""
        with contextlib.suppress(PushError):
            self._store.execute_one(("DEL", self._keys.generation_key(user, key.word)))

    def _forget_ended(self, user: str) -> None:
        """Remove from the user's running generations those that no longer run, such as expired ones."""
        ids = [each.decode() for each in self._store.read([("SMEMBERS", self._keys.running(user))])[0]]
        ended = self._ended(ids)
        if ended:
            self._store.execute_one(("SREM", self._keys.running(user), *ended))

    def forget(self, user: str, ids: Sequence[str]) -> Sequence[str]:
        """Delete these generations with everything that belongs to them, unless they run; give those that are gone. If
        Redis is away, the next `begin` does so."""
        with contextlib.suppress(PushError):
            if ended := self._ended(ids) if ids else []:
                names = [(self._keys.generation(each), *self._log_keys(answer_channel(each))[2:]) for each in ended]
                gone = ("ZREM", self._keys.generations(user), *ended)
                self._store.execute([*(("UNLINK", *each) for each in names), gone])
                return ended
        return ()

    def _ended(self, ids: Sequence[str]) -> list[str]:
        """Give those of which it is known that they do not run, nor ever will."""
        states = self._store.execute_each([("HGET", self._keys.generation(each), "state") for each in ids])
        runs = RUNNING.encode()
        return [
            each for each, state in zip(ids, states, strict=True) if state != runs and not isinstance(state, Exception)
        ]

    def say(self, words: Sequence[PendingFrames]) -> Command:
        """The command that appends frames of several generations to the log. It answers with the state of each. A write
        that is repeated changes nothing."""
        names, said = [self._keys.clock, self._keys.epoch], list[Any]()
        for each in words:
            names += (self._keys.generation(each.id), *self._log_keys(answer_channel(each.id))[2:])
            said += (each.number, len(each.frames), *each.frames)
        return _SAY.call(names, self._retention.keep_seconds, *said)

    def finish(self, last: PendingFrames, user: str, ending: Ending, worker: str, *, ours: bool) -> Command:
        """The command that appends the last frames and the ending. It answers with the state that the generation has
        then. `ours`: its own worker ends it; then the frames are appended even if Redis has lost the record."""
        names = [*self._log_keys(answer_channel(last.id)), self._keys.generation(last.id)]
        names += [self._keys.generating(worker), *self._log_keys(answers_channel(user))[2:], self._keys.running(user)]
        frames = [*last.frames, *ending.frames()]
        return _FINISH.call(
            names, int(ours), self._retention.keep_seconds, ending.state, last.id, _news(last.id, ending.state),
            FEED_SECONDS, len(frames), *frames, "worker", worker, *ending.fields(),
        )  # fmt: skip

    def end(self, record: Record, ending: Ending) -> str:
        """End a generation that any worker may run, and give the state that it has then; another ending may have been
        first."""
        command = self.finish(PendingFrames(record.id, 0, []), record.user, ending, record.worker, ours=False)
        return str(self._store.execute_one(command).decode())

    def states(self, ids: Sequence[str]) -> list[str]:
        """Read the states of generations; empty for one that does not exist any more."""
        found = self._store.execute([("HGET", self._keys.generation(each), "state") for each in ids])
        return [(state or b"").decode() for state in found]

    def find(self, generation_id: str) -> Record | None:
        """Read a record. None: there is none."""
        return self._records([generation_id])[0]

    def get(self, generation_id: str) -> Record:
        """Read a record. Raises NotFound."""
        record = self.find(generation_id)
        if record is None:
            raise unknown(generation_id)
        return record

    def _records(self, ids: Sequence[str]) -> list[Record | None]:
        found = self._store.read([("HMGET", self._keys.generation(each), *FIELDS) for each in ids])
        return [Record.read(each, dict(zip(FIELDS, raw, strict=True))) for each, raw in zip(ids, found, strict=True)]

    def request(self, generation_id: str) -> bytes:
        """Read the body of a question. Raises NotFound."""
        found: bytes | None = self._store.read([("HGET", self._keys.generation(generation_id), "request")])[0]
        if found is None:
            raise unknown(generation_id)
        return found

    def newest(self, user: str, limit: int, after: str | None, *, with_messages: bool) -> tuple[list[Record], bool]:
        """List the user's records, newest first, from the one that follows `after` in this order; and tell whether
        there are more. There may be fewer than `limit` if they are large. `with_messages`: so may their
        questions be.

        Raises LookupError if `after` is none of the user's generations."""
        start = 0
        if after is not None:
            rank = self._store.execute_one(("ZREVRANK", self._keys.generations(user), after))
            if rank is None:
                raise LookupError(after)
            start = rank + 1
        found = self._store.execute_one(("ZREVRANGE", self._keys.generations(user), start, start + limit))
        ids = [each.decode() for each in found]
        page = ids[: min(limit, self._fitting(ids, (*QUESTION, "answer") if with_messages else ("asked", "answer")))]
        records = self._records(page)
        return [record for record in records if record is not None], len(ids) > len(page)

    def _fitting(self, ids: Sequence[str], fields: Sequence[str]) -> int:
        """Count how many of these generations fit on one page with these fields; at least one."""
        sizes = self._store.execute(
            [("HSTRLEN", self._keys.generation(each), field) for each in ids for field in fields]
        )
        total = 0
        for number in range(len(ids)):
            total += sum(sizes[number * len(fields) : (number + 1) * len(fields)])
            if total > MOST_PAGE_BYTES:
                return max(1, number)
        return len(ids)

    def said(self, generation_id: str) -> list[EncodedEvent]:
        """Read all events of a generation so far."""
        clock, found = self._log.clock(), list[EncodedEvent]()
        while True:
            after = found[-1].id if found else BEGINNING
            [piece] = self._log.read([answer_channel(generation_id)], after, clock, READ_EVENTS)
            found += [EncodedEvent(entry.id, entry.wire) for entry in piece.entries]
            if len(piece.entries) < READ_EVENTS:
                whole = 0 < len(found) < READ_EVENTS  # all in one read; else it may have been packed between two reads
                return found if whole else self._packed(generation_id) or found

    def pack(self, generation_id: str) -> None:
        """Compress the events of a generation that has ended. They are much alike, so they take a tenth of the memory.
        A listener can still resume from any of them."""
        said = b"".join([event.wire for event in self.said(generation_id)])
        if said:
            self.keep(generation_id, "said", zlib.compress(said))
            # The tail is deleted, too: to a slow listener the log must not look as if its end was lost.
            self._store.execute_one(("DEL", *self._log_keys(answer_channel(generation_id))[2:]))

    def _packed(self, generation_id: str) -> list[EncodedEvent]:
        """Read the events that `pack` compressed. They must be read after the log: `pack` writes them before it deletes
        the log."""
        packed = self._store.execute_one(("HGET", self._keys.generation(generation_id), "said"))
        wires = [] if packed is None else [wire + b"\n\n" for wire in zlib.decompress(packed).split(b"\n\n")[:-1]]
        return [EncodedEvent(EventId.from_redis(wire[4 : wire.index(b"\n")]), wire) for wire in wires]

    def keep_answer(self, generation_id: str, answer: bytes) -> None:
        """Store the completion of a generation in one piece, so that its events need not be read for it again."""
        self.keep(generation_id, "answer", answer)

    def keep(self, generation_id: str, field: str, value: bytes) -> None:
        """Store a field in the record. If the record has expired by now, the new field must expire, too."""
        name = self._keys.generation(generation_id)
        self._store.execute([("HSET", name, field, value), ("EXPIRE", name, self._retention.keep_seconds, "NX")])

    def silent(self) -> list[str]:
        """List the workers that run generations according to Redis, but give no sign of life."""
        workers = [each.decode() for each in self._store.execute_one(("SMEMBERS", self._keys.producers))]
        alive = self._store.execute([("EXISTS", self._keys.worker(worker)) for worker in workers]) if workers else []
        return [worker for worker, lives in zip(workers, alive, strict=True) if not lives]

    def of_worker(self, worker: str) -> list[str]:
        """List the generations that a worker runs according to Redis."""
        return [each.decode() for each in self._store.execute_one(("SMEMBERS", self._keys.generating(worker)))]

    def _log_keys(self, name: str) -> list[str]:
        return [self._keys.clock, self._keys.epoch, self._keys.log(name), self._keys.tail(name)]

    def forget_worker(self, worker: str) -> None:
        """Remove a worker that died, after all its generations have ended."""
        self._store.execute([("DEL", self._keys.generating(worker)), ("SREM", self._keys.producers, worker)])


def _news(generation_id: str, state: str) -> bytes:
    return sse.frame("generation", orjson.dumps({"id": generation_id, "state": state}).decode())
