"""The work that is left when an answer has ended: it is stored in one piece and counted, and later packed."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import gevent

from pushsvc.errors import TooLarge, Unavailable
from pushsvc.events import exact_json
from pushsvc.events.names import answer_channel
from pushsvc.llm.formats import openai
from pushsvc.llm.outcome import RUNNING
from pushsvc.llm.record import Record
from pushsvc.storage.counts.presence import Presence

if TYPE_CHECKING:
    from pushsvc.llm.generations import Generations

logger = logging.getLogger(__name__)

PACK_SECONDS: Final = 60.0  # from an ending to packing; by then hardly anybody still listens
AGAIN_SECONDS: Final = 5.0  # from a failure of Redis to the next try
SETTLE_SECONDS: Final = 5.0  # that an answer's worker has to settle it; after that it counts as dead
LOOK_SECONDS: Final = 0.02  # between two looks whether it has


class Keeping:
    """Does that work for the answers of one partition."""

    def __init__(self, owner: Generations, presence: Presence) -> None:
        self._owner = owner
        self._presence = presence

    def on_over(self, generation_id: str) -> None:
        """Begin the work for an answer that this worker made."""
        gevent.spawn(self.keep_answer, generation_id)
        gevent.spawn_later(PACK_SECONDS, self._pack, generation_id)

    def keep_answer(self, generation_id: str, *, counted: bool = False) -> None:
        """Store the answer of a generation that has ended in one piece, and count it; if Redis is away, later.
        `counted`: it is counted."""
        owner = self._owner
        try:
            record = owner.records.find(generation_id)
            if record is None or record.ending is None:  # another worker goes on with it
                return
            whole = owner.answer(record)
            if not counted:
                owner.counted(record, whole, openai.usage(whole, 0 if record.about is None else record.about.prompt))
                counted = True
            if record.answer is None:
                owner.records.keep_answer(generation_id, exact_json.dumps(whole, lone=True))
        except TooLarge:
            logger.warning("the answer of %s could not be put together", generation_id)
        except Unavailable:
            logger.warning("the answer of %s could not be put together yet", generation_id)
            gevent.spawn_later(AGAIN_SECONDS, partial(self.keep_answer, counted=counted), generation_id)

    def settle_later(self, record: Record) -> None:
        """Settle an answer that another worker makes, and that is cancelled, unless that worker does so in time."""
        gevent.spawn_later(SETTLE_SECONDS, self._settle_if_left, record.id)

    def _settle_if_left(self, generation_id: str) -> None:
        try:
            record = self._owner.records.find(generation_id)
        except Unavailable:
            gevent.spawn_later(AGAIN_SECONDS, self._settle_if_left, generation_id)
            return
        if record is not None and record.answer is None:
            self.keep_answer(generation_id)

    def settle(self, record: Record) -> None:
        """Wait until the worker of an answer that has ended has settled it, and is done with it, as before it is
        deleted; if it does not, settle it here. Raises Unavailable."""
        since = time.time() if record.ended is None else record.ended / 1000
        found: Record | None = record
        while found is not None and found.answer is None:
            if time.time() - since > SETTLE_SECONDS:
                self.keep_answer(record.id)
                return
            gevent.sleep(LOOK_SECONDS)
            found = self._owner.records.find(record.id)

    def _pack(self, generation_id: str) -> None:
        try:
            if self._owner.records.states([generation_id]) == [RUNNING]:
                return
            if self._presence.total(answer_channel(generation_id)):  # it still has listeners
                gevent.spawn_later(PACK_SECONDS, self._pack, generation_id)
            else:
                self._owner.records.pack(generation_id)
        except (Unavailable, TooLarge):
            logger.warning("what %s said stays as large as it is", generation_id)
