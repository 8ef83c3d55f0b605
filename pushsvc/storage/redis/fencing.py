"""Fencing: rejects a master that was replaced and does not know it. Each new connection reads in which epoch of the
data its Redis is."""

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
from pushsvc.storage.redis.epochs import Boundary, EpochHistory
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.scripts import Command, Script
from pushsvc.storage.redis.topology.demoted import ELSEWHERE, is_demoted, takes_reads

logger = logging.getLogger(__name__)

_BEGIN_EPOCH: Final = Script("log/epoch")

UNKNOWN: Final = EpochHistory(b"0-0")
PROMPT_SECONDS: Final = 1.0
MOST_EPOCHS: Final = 32  # remembered; each takes some 30 bytes of every clock
# Sent outside scripts, where many services refuse INFO, and in two commands, as some allow only one section each.
INTRODUCE: Final[tuple[Command, ...]] = (("INFO", "server"), ("INFO", "replication"))


class Fenced(redis.ConnectionError):
    """A Redis held the data earlier; another holds it now."""


class Unnamed(redis.ConnectionError):
    """A Redis does not report its process id, so a loss of its data could not be noticed."""


class Introduction(NamedTuple):
    """The self-description of a Redis: its `process`, and the `word` that changes when another process takes over the
    data, or the same one after it was a replica."""

    process: bytes
    word: bytes
    is_master: bool


def introduction(server: bytes, replication: bytes) -> Introduction:
    """Parse the answers to INTRODUCE. Raises Unnamed."""
    info = server + b"\n" + replication
    process = re.search(rb"^run_id:(\w+)", info, re.MULTILINE)
    if process is None:
        raise Unnamed("INFO names no run_id, by which a loss of data would be noticed")
    word = process[1]
    second = re.search(rb"^master_replid2:(\w+)", info, re.MULTILINE)
    # A master that has always been one has no second id; its first id changes when a replica joins, in the same epoch.
    if second is not None and second[1].strip(b"0"):
        first = re.search(rb"^master_replid:(\w+)", info, re.MULTILINE)
        word += b" " + (first[1] if first is not None else b"")
    return Introduction(process[1], word, re.search(rb"^role:(slave|replica)", info, re.MULTILINE) is None)


@contextmanager
def reject_slow_connect(connection: Connection) -> Iterator[None]:
    """Guard a connection to the reported master. A node that answers late was suspended, maybe so long that another is
    the master by now and this one does not know. Raises TimeoutError."""
    began = time.monotonic()
    yield
    if time.monotonic() - began > PROMPT_SECONDS:
        connection.disconnect()
        raise redis.TimeoutError("it took this Redis so long that by now another may be the master")


class Fence:
    """The newest epoch of the data that this process knows. A Redis in an older epoch is a replaced master that does
    not know it yet; no connection to it is used."""

    def __init__(self, keys: Keys, acknowledged: Acknowledged | None = None) -> None:
        self.epochs = UNKNOWN
        self.acknowledged = acknowledged or Acknowledged()
        # Everything before the birth of this data is lost, and Redis has not recorded that yet.
        self.all_lost = False
        self._keys = keys
        self._lost: set[Boundary] = set()  # losses that Redis has not recorded yet
        self._with: WeakKeyDictionary[ConnectionInterface, Introduction] = WeakKeyDictionary()
        self._owing: WeakSet[ConnectionInterface] = WeakSet()  # could not record the epoch that began with them
        self._over: WeakSet[ConnectionInterface] = WeakSet()  # lead to a Redis that is no master any more

    def advance_to(self, epochs: EpochHistory) -> None:
        """Accept the history of a Redis as the newest one. Raises Fenced if that Redis was replaced."""
        if epochs.is_superseded_by(self.epochs):
            raise Fenced("this Redis was replaced, and does not know it yet")
        if epochs.current != self.epochs.current:  # clients are served in it only once its losses are known
            newest = self.acknowledged.of_machine()
            self._lost |= epochs.losses_of(newest)
            if epochs.birth != self.epochs.birth:  # else the loss was reported; an old file may remain
                self.all_lost = self.all_lost or any(event_id < epochs.birth for event_id in newest.values())
        self._lost = {boundary for boundary in self._lost if not epochs.knows_loss_at(boundary)}
        self.epochs = EpochHistory(epochs.raw, self._lost) if self._lost else epochs

    def knows_more(self, raw: bytes) -> bool:
        """Whether this process knows of a loss, or of earlier data, that this raw history lacks."""
        other = raw.partition(b" ")[0].rstrip(b"!") != self.epochs.raw.partition(b" ")[0].rstrip(b"!")
        return bool(self._lost) or self.all_lost or (other and self.epochs is not UNKNOWN)

    def add_loss(self, boundary: Boundary) -> None:
        """Add a loss that Redis has not recorded yet."""
        self._lost.add(boundary)
        self.advance_to(EpochHistory(self.epochs.raw))

    def handshake(self, connection: ConnectionInterface) -> None:
        """Run the first commands on a connection. A Redis that refuses to record its epoch can still be read. One that
        reports another owner of the data, or no process id, is rejected."""
        connection.on_connect()
        connection.send_packed_command([b"".join(map(hiredis.pack_command, INTRODUCE))])
        said = introduction(*(connection.read_response() for _ in INTRODUCE))
        self._with[connection] = said
        self.check_role(said)
        self._begin_epoch(connection, said)

    def begin_owed_epoch(self, connection: ConnectionInterface) -> bool:
        """Try again to record the epoch that Redis refused to record at the handshake: as soon as it
        takes writes, and before it takes events. Returns whether this call recorded it."""
        if connection not in self._owing:
            return False
        self._begin_epoch(connection, self._with[connection])
        return connection not in self._owing

    def check_role(self, said: Introduction) -> None:
        """Check how a Redis describes itself, at first or again. If it is no master (any more), raises ReadOnlyError,
        and its connections are dropped: a replica that takes writes would lose them."""
        if not said.is_master:
            self._over.update(each for each, known in self._with.items() if known.process == said.process)
            raise ReadOnlyError("this Redis is a replica")

    def is_unusable(self, connection: ConnectionInterface) -> bool:
        """Whether the connection leads to a Redis that is no master any more."""
        return connection in self._over

    def _begin_epoch(self, connection: ConnectionInterface, said: Introduction) -> None:
        names = (self._keys.clock, self._keys.epoch, self._keys.server)
        connection.send_command("EVAL", _BEGIN_EPOCH.source, len(names), *names, said.word, MOST_EPOCHS)
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
                self.advance_to(EpochHistory(raw))


class RoleAnswers:
    """Collects the answers to INTRODUCE on a subscription, and checks them together.

    A master that became a replica still announces what it receives, the canary too. So its role is read from Redis
    itself.
    """

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._said: list[Any] = []

    def take(self, answer: Any) -> None:
        """Take an answer. Raises ReadOnlyError with the last one, if this is no master."""
        self._said.append(answer)
        if len(self._said) == len(INTRODUCE):
            said, self._said = self._said, []
            if not any(isinstance(each, Exception) for each in said):
                self._fence.check_role(introduction(*said))

    def clear(self) -> None:
        """Forget the answers of a connection that has ended."""
        self._said.clear()
