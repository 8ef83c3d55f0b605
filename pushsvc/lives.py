"""The lives of the data: each process of Redis that has it begins one. What was lost between two of them is known by
the ids that nobody drew in either. Pure, but for the greeting.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from typing import Final

from redis.connection import ConnectionInterface
from redis.exceptions import ResponseError

from pushsvc.event import BEGINNING, EventId
from pushsvc.keys import Keys
from pushsvc.lane import Command
from pushsvc.store import ELSEWHERE, Script

logger = logging.getLogger(__name__)

_LIFE: Final = Script("life")
_LOSE: Final = Script("lose")

MOST_LIVES: Final = 32  # remembered; each takes some 30 bytes of every clock


class Lives:
    """As the epoch says them: the clock's birth, then for each life that followed on another the last id of that and
    the first of its own, which has a `!` if it is known that events were lost between the two."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        words = raw.split()
        self.current = self.latest(raw)  # the first id of the last life
        self._bounds = [EventId.from_redis(word.rstrip(b"!")) for word in words]
        self._seams = [(self._bounds[i - 1], self._bounds[i]) for i, word in enumerate(words) if word.endswith(b"!")]

    @staticmethod
    def latest(raw: bytes) -> bytes:
        """What `current` would be; the epoch's end is enough for that."""
        return raw.rstrip(b"!").rpartition(b" ")[2]

    def before(self, other: Lives) -> bool:
        """These are not all the lives that the other knows, and no others: as of a master that has been replaced."""
        return other.raw.startswith(self.raw + b" ")

    @property
    def birth(self) -> EventId:
        return self._bounds[0]

    def hole(self, cursor: EventId) -> tuple[EventId, EventId] | None:
        """The last id of one life and the first of the next, if it was drawn after the one and before the other: by
        a Redis whose data is lost. None: in one of these lives, or before all."""
        at = bisect_left(self._bounds, cursor)
        if at % 2 or at == 0 or self._bounds[at] == cursor:
            return None
        return self._bounds[at - 1], self._bounds[at]

    def seam(self, cursor: EventId) -> tuple[EventId, EventId] | None:
        """The next two lives, as in `hole`, between which it is known that events after the cursor were lost."""
        return next((seam for seam in self._seams if cursor <= seam[0]), None)

    @property
    def healed(self) -> EventId:
        """The first id after all the losses that are known."""
        return self._seams[-1][1] if self._seams else BEGINNING


def greet(connection: ConnectionInterface, keys: Keys) -> None:
    """The first words on each connection. A Redis that refuses to note anything can still be read; not one that says
    that others have the data."""
    connection.on_connect()
    connection.send_command("EVAL", _LIFE.source, 3, keys.clock, keys.epoch, keys.server, MOST_LIVES)
    try:
        connection.read_response()
    except ELSEWHERE:
        raise
    except ResponseError as error:
        logger.warning("redis: %s: %s", type(error).__name__, error)


def lose(keys: Keys, hole: tuple[EventId, EventId]) -> Command:
    """The command that notes that events were lost there."""
    return _LOSE.call([keys.epoch], *map(str, hole))
