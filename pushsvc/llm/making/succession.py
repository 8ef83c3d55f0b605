"""Answers whose worker has died, or was told to stop: another worker takes them over, and asks for the rest."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pushsvc.errors import Invalid, NotFound, TooLarge
from pushsvc.events.exact_json import NotJson
from pushsvc.llm import request
from pushsvc.llm.formats import continuing, members
from pushsvc.llm.formats.continuing import Past, SoFar
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.generation import Generation
from pushsvc.llm.outcome import COMPLETED, PRODUCER_LOST, Ending
from pushsvc.llm.record import Record
from pushsvc.llm.request import Question
from pushsvc.storage.redis.client import RedisClient
from pushsvc.storage.redis.keys import Keys
from pushsvc.storage.redis.scripts import Command, Script

if TYPE_CHECKING:
    from pushsvc.llm.generations import Generations

logger = logging.getLogger(__name__)

MOST_TIMES: Final = 3  # that an answer is taken over: it may be what its workers die of
_CLAIM: Final = Script("answers/claim")


def claim(keys: Keys, generation_id: str, worker: str, heir: str) -> Command:
    """The command by which a worker takes a generation over from another."""
    names = [keys.generation(generation_id), keys.generating(worker), keys.generating(heir), keys.producers]
    return _CLAIM.call(names, generation_id, worker, heir, MOST_TIMES)


class Succession:
    """Takes generations over for one worker, if the settings say so. `on`: they do."""

    def __init__(self, store: RedisClient, worker_id: str, total: float, *, on: bool, ask_streamed: bool) -> None:
        """`total`: seconds that an answer may take; `ask_streamed`: see request.parse."""
        self._on = on
        self._store = store
        self.worker_id = worker_id
        self._total = total
        self._ask_streamed = ask_streamed

    def claim(self, record: Record) -> tuple[int, float] | None:
        """Take a generation over. Of all workers that try one succeeds, and its own can write no more. Give how often
        it was taken over, 0: it is another worker's; and its age in seconds. None: it is to be ended. Raises
        Unavailable."""
        times, *age = self._store.execute_one(claim(self._store.keys, record.id, record.worker, self.worker_id))
        if times < 0:
            return None
        return times, age[0] / 1000 if age else 0.0

    def goes_on(self, owner: Generations, record: Record) -> bool:
        """Go on with a generation whose worker has died. False: it is to be ended. Raises Unavailable."""
        begun_in_vain = record.worker == self.worker_id and not record.continued  # who asked was told of a failure
        if not self._on or record.ending is not None or begun_in_vain or owner.is_full():
            return False
        try:
            raw = owner.records.request(record.id)
            asked = members.read(raw) or {}
        except (NotFound, NotJson):
            return False
        claimed = self.claim(record) if continuing.can_continue(asked) else None
        if claimed is None:
            return False
        if claimed[0]:  # else another worker was first
            mine = replace(record, worker=self.worker_id)
            self._begin(owner, mine, self.plan(raw, owner.said(record.id), mine, claimed))
        return True

    def _begin(self, owner: Generations, record: Record, plan: Plan | None) -> None:
        question, past = plan or (None, None)
        if question is None:
            owner.records.end(record, PRODUCER_LOST if plan is None else Ending(COMPLETED))
            owner.keeping.keep_answer(record.id)
            return
        logger.warning("generation %s goes on in this worker", record.id)
        owner.take_over(Generation(record.id, record.user, owner, question, past), question)

    def lets_go(self, generation: Generation) -> bool:
        """Whether a worker that stops leaves this generation to others."""
        return self._on and generation.continues

    def plan(self, raw: bytes, chunks: Iterable[Json], record: Record, claimed: tuple[int, float]) -> Plan | None:
        """The way to go on with a generation that was claimed. `raw`: its request; `chunks`: what it has said. None:
        that is not possible."""
        times, seconds = claimed
        so_far = SoFar.of(chunks)
        if so_far is None or seconds > self._total:
            return None
        past = Past(times, seconds, so_far)
        if so_far.over:
            return None, past
        try:
            body = continuing.continuation(raw, so_far)
            if body is None:
                return None
            stream = True if so_far.text else None
            asked = request.parse(body, model="", stream=stream, ask_streamed=self._ask_streamed)
        except (NotJson, Invalid, TooLarge) as error:
            logger.warning("%s cannot be continued: %s", record.id, error)
            return None
        return replace(asked, cancels=record.cancels), past


Plan = tuple[Question | None, Past]  # the question for the rest, None: all is there; and what was before
