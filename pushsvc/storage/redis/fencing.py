"""Which master is believed: each connection, when it is made, says in which life of the data its Redis is."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import hiredis
import redis
from redis.connection import Connection, ConnectionInterface
from redis.exceptions import ReadOnlyError, ResponseError

from pushsvc.concurrency.loops import SAME_SECONDS, is_news
from pushsvc.storage.acknowledged import Acknowledged
from pushsvc.storage.redis.demoted import ELSEWHERE, is_demoted, takes_reads
from pushsvc.storage.redis.epochs import EpochHistory, Hole
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.scripts import Command, Script

logger = logging.getLogger(__name__)

_LIFE: Final = Script("life")

UNKNOWN: Final = EpochHistory(b"0-0")
PROMPT_SECONDS: Final = 1.0
MOST_LIVES: Final = 32  # remembered; each takes some 30 bytes of every clock
# Asked at the top level: many services refuse it in scripts. Each by itself: some take one section only.
INTRODUCE: Final[tuple[Command, ...]] = (("INFO", "server"), ("INFO", "replication"))


class Fenced(redis.ConnectionError):
    """This Redis had the data once; another has it now."""


class Unnamed(redis.ConnectionError):
    """This Redis does not say which process it is, so nobody could tell when it lost data."""


class Introduction(NamedTuple):
    """What a Redis says of itself: its `process`, and the `word` by which it is known whether that is the one that had
    the data last, and has been the master all the time."""

    process: bytes
    word: bytes
    is_master: bool


def introduction(server: bytes, replication: bytes) -> Introduction:
    """From the answers to INTRODUCE. Raises Unnamed."""
    info = server + b"\n" + replication
    process = re.search(rb"^run_id:(\w+)", info, re.MULTILINE)
    if process is None:
        raise Unnamed("INFO names no run_id, by which a loss of data would be noticed")
    word = process[1]
    second = re.search(rb"^master_replid2:(\w+)", info, re.MULTILINE)
    # A master that has always been one has no second id; its first changes when a replica comes, no other life.
    if second is not None and second[1].strip(b"0"):
        first = re.search(rb"^master_replid:(\w+)", info, re.MULTILINE)
        word += b" " + (first[1] if first is not None else b"")
    return Introduction(process[1], word, re.search(rb"^role:(slave|replica)", info, re.MULTILINE) is None)


@contextmanager
def reject_slow_connect(connection: Connection) -> Iterator[None]:
    """While it connects to who is called the master. One that greets late was away, maybe for long enough that by now
    another is, and has not heard of it. Raises TimeoutError."""
    began = time.monotonic()
    yield
    if time.monotonic() - began > PROMPT_SECONDS:
        connection.disconnect()
        raise redis.TimeoutError("it took this Redis so long that by now another may be the master")


class Fence:
    """The last life of the data that this process has heard of. Who is in one before it, as a master that does not
    know yet that it was replaced, is not believed, on any connection."""

    def __init__(self, keys: Keys, acknowledged: Acknowledged | None = None) -> None:
        self.lives = UNKNOWN
        self.acknowledged = acknowledged or Acknowledged()
        # Nothing is left of what was before the birth of this data, and Redis does not say so yet.
        self.all_lost = False
        self._keys = keys
        self._lost: set[Hole] = set()  # between lives, of which Redis does not say so yet
        self._with: WeakKeyDictionary[ConnectionInterface, Introduction] = WeakKeyDictionary()
        self._owing: WeakSet[ConnectionInterface] = WeakSet()  # they could not note the life that began with them
        self._over: WeakSet[ConnectionInterface] = WeakSet()  # they lead to who is no master any more

    def follow(self, lives: EpochHistory) -> None:
        """Raises Fenced."""
        if lives.before(self.lives):
            raise Fenced("this Redis was replaced, and does not know it yet")
        if lives.current != self.lives.current:  # nobody is served in a life before it is known what that lacks
            newest = self.acknowledged.of_machine()
            self._lost |= lives.lost(newest)
            if lives.birth != self.lives.birth:  # else that is known, and a file of before may be left all the same
                self.all_lost = self.all_lost or any(event_id < lives.birth for event_id in newest.values())
        self._lost = {hole for hole in self._lost if not lives.says(hole)}
        self.lives = EpochHistory(lives.raw, self._lost) if self._lost else lives

    def knows_more(self, epoch: bytes) -> bool:
        """Than the data says that has this epoch: of a loss, or of data that was there before all of this."""
        other = epoch.partition(b" ")[0].rstrip(b"!") != self.lives.raw.partition(b" ")[0].rstrip(b"!")
        return bool(self._lost) or self.all_lost or (other and self.lives is not UNKNOWN)

    def lose(self, hole: Hole) -> None:
        """Events were lost there, which is yet to be noted."""
        self._lost.add(hole)
        self.follow(EpochHistory(self.lives.raw))

    def handshake(self, connection: ConnectionInterface) -> None:
        """The first words on each connection. A Redis that refuses to note anything can still be read; not one that
        says that others have the data, nor one that does not say who it is."""
        connection.on_connect()
        connection.send_packed_command([b"".join(map(hiredis.pack_command, INTRODUCE))])
        said = introduction(*(connection.read_response() for _ in INTRODUCE))
        self._with[connection] = said
        self.heard(said)
        self._note(connection, said)

    def settle(self, connection: ConnectionInterface) -> bool:
        """What the Redis refused to note when it was greeted, it is to note before it takes any event: as soon as it
        does not refuse these either. True: it has, just now."""
        if connection not in self._owing:
            return False
        self._note(connection, self._with[connection])
        return connection not in self._owing

    def heard(self, said: Introduction) -> None:
        """A Redis introduces itself, for the first time or again. Raises ReadOnlyError if it is no master (now): then
        no connection to it is to be used any more. A replica that takes writes would lose them."""
        if not said.is_master:
            self._over.update(each for each, known in self._with.items() if known.process == said.process)
            raise ReadOnlyError("this Redis is a replica")

    def is_over(self, connection: ConnectionInterface) -> bool:
        return connection in self._over

    def _note(self, connection: ConnectionInterface, said: Introduction) -> None:
        keys = self._keys
        connection.send_command("EVAL", _LIFE.source, 3, keys.clock, keys.epoch, keys.server, said.word, MOST_LIVES)
        try:
            raw: Any = connection.read_response()
        except ResponseError as error:
            if (is_demoted(error) or isinstance(error, ELSEWHERE)) and not takes_reads(error):
                raise
            line = f"redis: {type(error).__name__}: {error}"
            if connection not in self._owing and is_news(line, SAME_SECONDS):
                logger.warning("%s", line)
            self._owing.add(connection)
        else:
            self._owing.discard(connection)
            if raw:
                self.follow(EpochHistory(raw))
