"""The answers that this worker has its model make. They belong to the service: no request has to last for them.

Each has exactly one ending, which is written by whoever is first: its own worker, somebody who cancels it, or, when the
worker has died, any other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import gevent
import gevent.event

from pushsvc.concurrency.loops import LONGEST_PAUSE, Loop
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.errors import TooLarge, TooManyGenerations, Unavailable, Unwritable
from pushsvc.events import exact_json, sse
from pushsvc.events.event import answer_channel, generation_of
from pushsvc.llm import openai
from pushsvc.llm.generation import Generation
from pushsvc.llm.joining import Json, joined
from pushsvc.llm.models.base import Model
from pushsvc.llm.outcome import CANCELLED, DATA_LOST, PRODUCER_LOST, RUNNING
from pushsvc.llm.progress import Limits
from pushsvc.llm.record import Record
from pushsvc.llm.request import Question
from pushsvc.llm.store import Records
from pushsvc.llm.writer import GenerationWriter
from pushsvc.storage.presence import BEAT_SECONDS, Presence
from pushsvc.storage.redis.pubsub import PubSub

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25  # how often limits of time are looked at
GRACE_SECONDS: Final = 5.0  # for a browser that reconnects, before its answer is taken for nobody's
PACK_SECONDS: Final = 60.0  # after an ending; by then hardly anybody still listens
ROUND_SECONDS: Final = 1.0  # how often this worker looks for the generations of others that died
# A Redis that was away, or stood still, took the others' signs of life with it. So they are judged only by who has
# seen it answer for as long as a worker may need to give one again.
ABSENCE_SECONDS: Final = 2.0
STEADY_SECONDS: Final = LONGEST_PAUSE + BEAT_SECONDS + 0.5


class Generations:
    """Begins generations, watches those that run here, and ends those whose worker has died."""

    def __init__(
        self,
        records: Records,
        writer: GenerationWriter,
        model: Model,
        limits: Limits,
        worker_id: str,
        presence: Presence,
        bus: PubSub,
        full: Callable[[], bool],
    ) -> None:
        """`full`: whether no more may begin in this worker."""
        self.records = records
        self._writer = writer
        self._model = model
        self._limits = limits
        self._worker_id = worker_id
        self._presence = presence
        self._bus = bus
        self._full = full
        self._running: dict[str, Generation] = {}
        self._orphans: set[str] = set()  # begun here as far as Redis knows, but its answer to that was lost
        self._suspects: set[str] = set()  # workers that gave no sign of life when this one looked last
        self._answered_at = time.monotonic()  # when Redis did so last
        self._steady_since = 0.0
        self._unheard: dict[str, float] = {}  # since when nobody listens to those that are cancelled then
        self.loops = (
            writer.loop,
            Loop("generations", self._watch, expected=()),
            Loop("lost generations", self._find_lost, expected=(Unavailable,)),
        )

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, question: Question, user: str, key: str | None) -> tuple[str, Generation | None]:
        """Ask the model. With a key that was used before: the id of what was begun then, and nothing is asked.

        Raises TooManyGenerations, or Unavailable.
        """
        if self._full():
            raise TooManyGenerations("This worker makes as many answers as it may; try again later.", retry_after=2)
        found, new = self.records.begin(user, question.body, cancels=question.cancels, key=key)
        if not new:
            return found, None
        generation = self._running[found] = Generation(found, user, self, question)
        if question.cancels:
            self._unheard[found] = float("inf")  # somebody has to have listened
        try:
            generation.ask(self._model, question.body)
        except Exception:
            logger.exception("a question cannot be asked because of an error of the service")
            generation.on_broken()
        return found, generation

    # Reports of a Generation

    def on_pending(self, generation: Generation) -> None:
        """Have the generation written: it has something to say. Harmless when repeated."""
        self._writer.add(generation)

    def on_over(self, generation: Generation) -> None:
        """Forget a generation whose ending is written; keep its answer in one piece, and later its events packed."""
        self._unheard.pop(generation.id, None)
        if self._running.pop(generation.id, None) is not None:
            gevent.spawn(self._keep_answer, generation.id)
            gevent.spawn_later(PACK_SECONDS, self._pack, generation.id)

    def _keep_answer(self, generation_id: str) -> None:
        try:
            record = self.records.find(generation_id)
            if record is not None and record.answer is None:
                self.records.keep_answer(generation_id, exact_json.dumps(self.answer(record), lone=True))
        except (Unavailable, TooLarge):
            logger.warning("the answer of %s could not be put together; whoever asks for it does so", generation_id)

    def _pack(self, generation_id: str) -> None:
        try:
            if self._presence.total(answer_channel(generation_id)):  # somebody still reads it
                gevent.spawn_later(PACK_SECONDS, self._pack, generation_id)
            else:
                self.records.pack(generation_id)
        except (Unavailable, TooLarge):
            logger.warning("what %s said stays as large as it is", generation_id)

    def answer(self, record: Record) -> Json:
        """Give what it said so far, as one completion."""
        if record.answer is not None:
            whole: Json = exact_json.loads(record.answer)
            return whole
        return openai.completion(joined(self._said(record.id)))

    def _said(self, generation_id: str) -> Iterator[Json]:
        """Read its chunks so far."""
        for event in self.records.said(generation_id):
            if not event.wire.endswith(sse.DONE):
                value = exact_json.loads(sse.read_event(event.wire)[1].encode())
                if openai.error_of(value) is None:
                    yield value

    def has_said(self, record: Record) -> bool:
        """Whether it has said anything but an error."""
        return next(self._said(record.id), None) is not None

    def cancel(self, record: Record) -> str:
        """End it, whichever worker runs it, and give the state it has then."""
        state = self.records.end(record, CANCELLED)
        self.check(record.id)
        if record.worker != self._worker_id:
            self._bus.send_control(record.worker, record.id)
        return state

    def on_requester_left(self, subscriber: Subscriber) -> None:
        """Cancel the answer, unless somebody else listens: the client that asked for it has left, and cannot return."""
        if subscriber.channel_end is None:
            gevent.spawn(self._cancel_if_unheard, *subscriber.channels)

    def on_listener_left(self, subscriber: Subscriber) -> None:
        """Cancel the answer after a while, unless somebody listens by then: a listener has left, and may return."""
        if subscriber.channel_end is None:
            gevent.spawn_later(GRACE_SECONDS, self._cancel_if_unheard, *subscriber.channels)

    def _cancel_if_unheard(self, channel: str) -> None:
        try:
            record = self.records.find(generation_of(channel))
            if record is not None and record.ending is None and not self._presence.total(channel):
                self.cancel(record)
        except Unavailable:
            logger.warning("%s could not be cancelled, though nobody listens any more", channel)

    def check(self, generation_id: str) -> None:
        """End the generation here if it has ended elsewhere: its model is no longer listened to."""
        generation = self._running.get(generation_id)
        if generation is not None:
            gevent.spawn(self._check_all, [generation_id])

    def _check_all(self, ids: list[str]) -> None:
        for generation_id, state in zip(ids, self.records.states(ids), strict=True):
            generation = self._running.get(generation_id)
            if generation is not None and state != RUNNING:
                generation.end(CANCELLED if state else DATA_LOST)

    def _watch(self, loop: Loop) -> None:
        while True:
            loop.report_healthy()
            gevent.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for generation in list(self._running.values()):
                generation.check_limits(now, self._limits)

    def _find_lost(self, loop: Loop) -> None:
        while True:
            self._check_all(list(self._running))
            self._cancel_unheard()
            try:
                self._look_for_lost()
            except Unwritable:  # nor can other workers give their signs of life
                self._steady_since = time.monotonic()
            loop.report_healthy()
            gevent.sleep(ROUND_SECONDS)

    def _look_for_lost(self) -> None:
        """End what has no worker, if it looked so twice: a generation that begins is in Redis a moment before it runs
        here."""
        mine = set(self.records.of_worker(self._worker_id)) - self._running.keys()
        self._end_lost(mine & self._orphans)
        self._orphans = mine
        silent = set(self.records.silent()) - {self._worker_id}
        if self._steady():
            for worker in silent & self._suspects:
                self._end_lost(self.records.of_worker(worker))
                self.records.forget_worker(worker)
        self._suspects = silent

    def _steady(self) -> bool:
        """Whether Redis has answered for long enough. To be asked whenever it did."""
        now = time.monotonic()
        if now - self._answered_at > ROUND_SECONDS + ABSENCE_SECONDS:
            self._steady_since = now
        self._answered_at = now
        return now - self._steady_since > STEADY_SECONDS

    def _cancel_unheard(self) -> None:
        """Cancel answers that nobody listens to; also where the last two listeners left two workers at once, or by one
        that died, or while Redis was away."""
        now = time.monotonic()
        for generation_id, since in list(self._unheard.items()):
            if self._presence.total(answer_channel(generation_id)):
                self._unheard[generation_id] = now
            elif now - since > GRACE_SECONDS and generation_id in self._running:
                self._running[generation_id].end(CANCELLED)

    def _end_lost(self, ids: Iterable[str]) -> None:
        for generation_id in ids:
            record = self.records.find(generation_id)
            if record is not None and self.records.end(record, PRODUCER_LOST) == PRODUCER_LOST.state:
                logger.warning("generation %s was lost with its worker", generation_id)
                self._keep_answer(generation_id)

    def stop(self, seconds: float) -> bool:
        """End all that still runs. False: that could not be written in time."""
        deadline = time.monotonic() + seconds
        for generation in list(self._running.values()):
            generation.end(PRODUCER_LOST)
        while self._running and time.monotonic() < deadline:
            gevent.sleep(0.01)
        return not self._running
