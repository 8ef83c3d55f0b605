"""The answers that this worker has the model make. An answer does not depend on the request that began it.

Each generation has exactly one ending. Its own worker writes it, or a worker at which it is cancelled, or, when its
worker has died, any other; the first ending counts.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import gevent
import gevent.event

from pushsvc import metrics
from pushsvc.concurrency.loops import Loop
from pushsvc.concurrency.shares import SharedSlice
from pushsvc.delivery.reading.retold import Retold
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.errors import TooManyGenerations, Unavailable, Unwritable
from pushsvc.events import exact_json, sse
from pushsvc.events.names import answer_channel, generation_of
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.continuing import is_continued
from pushsvc.llm.formats.joining import Json, joined
from pushsvc.llm.formats.kept_json import long_json
from pushsvc.llm.formats.shape import shaped
from pushsvc.llm.generation import Generation
from pushsvc.llm.making.asking import Engine
from pushsvc.llm.making.keeping import Keeping
from pushsvc.llm.making.losses import ROUND_SECONDS, Losses
from pushsvc.llm.making.progress import Limits
from pushsvc.llm.making.succession import Succession
from pushsvc.llm.models.base import Model
from pushsvc.llm.outcome import CANCELLED, DATA_LOST, PRODUCER_LOST, RUNNING, TAKEN
from pushsvc.llm.record import Record
from pushsvc.llm.repeats import RepeatKey
from pushsvc.llm.request import Question
from pushsvc.llm.store import Records
from pushsvc.llm.writer import GenerationWriter
from pushsvc.storage.counts.presence import Presence
from pushsvc.storage.redis.subscription.pubsub import PubSub

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.25  # between two checks of the time limits
GRACE_SECONDS: Final = 5.0  # that a browser has to reconnect, before its answer counts as one without a listener


class Generations:
    """Begins generations, watches those that run here, and ends those whose worker has died."""

    def __init__(
        self,
        records: Records,
        writer: GenerationWriter,
        model: Model,
        limits: Limits,
        presence: Presence,
        bus: PubSub,
        full: Callable[[], bool],
        succession: Succession,
    ) -> None:
        """`full`: tells whether no more generations may begin in this worker."""
        self.records = records
        self.retold = Retold()
        self._writer = writer
        self._model = model
        self._limits = limits
        self._engine = Engine(limits.first_token)
        self._presence = presence
        self._bus = bus
        self.is_full = full
        self._succession = succession
        self._losses = Losses(self, succession)
        self.keeping = Keeping(self, presence)
        self._running: dict[str, Generation] = {}
        self._unheard: dict[str, float] = {}  # since when nobody listens, for generations that are then cancelled
        self.counted: Callable[[Record, Json, Json], None] = lambda _, __, usage: metrics.count_tokens(usage)
        self.loops = (
            writer.loop,
            Loop("generations", self._watch, expected=()),
            Loop("lost generations", self._find_lost, expected=(Unavailable,)),
        )

    def __len__(self) -> int:
        return len(self._running)

    def ids(self) -> set[str]:
        """Those that run here."""
        return set(self._running)

    def take_over(self, generation: Generation, question: Question) -> None:
        """Run a generation here that another worker began."""
        if question.cancels:
            self._unheard[generation.id] = time.monotonic()
        self.on_pending(generation)
        self._run(generation, question)

    def begin(
        self, question: Question, user: str, key: RepeatKey | None, more: Sequence[str | bytes] = ()
    ) -> tuple[str, Generation | None]:
        """Begin a generation, and give its id and the Generation. `more`: fields of its record. With a key that was
        used before, give the id of the generation that was begun then, and None.

        Raises TooManyGenerations, or Unavailable.
        """
        if self.is_full():
            raise TooManyGenerations("This worker makes as many answers as it may; try again later.", retry_after=2)
        found, new = self.records.begin(user, question, key, more)
        if not new:
            return found, None
        if question.cancels:
            self._unheard[found] = float("inf")  # not cancelled before somebody has listened
        generation = Generation(found, user, self, question)
        self._run(generation, question)
        return found, generation

    def _run(self, generation: Generation, question: Question) -> None:
        self._running[generation.id] = generation
        metrics.GENERATING.inc()
        try:
            generation.ask(self._model, question, self._engine)
        except Exception:
            logger.exception("a question cannot be asked because of an error of the service")
            generation.on_broken()

    def ask_later(self, generation: Generation, body: bytes, pause: float) -> None:
        """Ask the model once more, after so many seconds."""
        gevent.spawn_later(pause, generation.ask_again, self._model, body)

    def on_pending(self, generation: Generation) -> None:
        """Have the generation's new text or ending written. Harmless when repeated."""
        self._writer.add(generation)

    def on_over(self, generation: Generation) -> None:
        """Remove a generation whose ending is written. Store its answer in one piece, and later pack its events."""
        self._unheard.pop(generation.id, None)
        if self._running.pop(generation.id, None) is not None:
            metrics.GENERATING.dec()
            self.keeping.on_over(generation.id)

    def answer(self, record: Record) -> Json:
        """Give the text of a generation so far, as one completion of OpenAI's API."""
        if record.answer is not None:
            return long_json(record.answer)
        count = [] if record.ending is None or record.ending.count is None else [record.ending.count]
        whole = openai.completion(joined(itertools.chain(self.said(record.id), map(exact_json.loads, count))))
        return whole if record.ending is None else shaped(whole, record.ending.shape)

    def said(self, generation_id: str) -> Iterator[Json]:
        """Read the chunks of a generation so far, without its error."""
        turn = SharedSlice()  # who asks for a long answer again and again lets others in
        for event in self.records.said(generation_id):
            turn.yield_if_over()
            if not event.wire.endswith(sse.DONE) and not is_continued(event.wire):
                value = exact_json.loads(sse.read_event(event.wire)[1].encode())
                if openai.error_of(value) is None:
                    yield value

    def has_said(self, record: Record) -> bool:
        """Whether the generation has any chunk that is not an error."""
        return next(self.said(record.id), None) is not None

    def cancel(self, record: Record) -> str:
        """Cancel a generation, whichever worker runs it, and give the state that it has then."""
        state = self.records.end(record, CANCELLED)
        if state == TAKEN:
            return self.cancel(self.records.get(record.id))
        self.check(record.id)
        if record.id not in self._running:
            self.keeping.settle_later(record)  # its worker may be dead
        if record.worker != self._succession.worker_id:
            self._bus.send_control(record.worker, record.id)
        return state

    def on_requester_left(self, subscriber: Subscriber) -> None:
        """Cancel the answer unless others listen, because the client that asked for it has left, and cannot resume."""
        if subscriber.channel_end is None:
            gevent.spawn(self._cancel_if_unheard, *subscriber.channels)

    def on_listener_left(self, subscriber: Subscriber) -> None:
        """Cancel the answer after a while unless it has listeners then: the one that has left may reconnect."""
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
        """End the generation here, and the call to its model, if another worker has ended it."""
        if generation_id in self._running:
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
                self._losses.look()
            except Unwritable:
                self._losses.redis_refuses()
            loop.report_healthy()
            gevent.sleep(ROUND_SECONDS)

    def _cancel_unheard(self) -> None:
        """Cancel answers without listeners that `on_listener_left` could not cancel: the last two listeners left two
        workers at the same time, or their worker died, or Redis was away."""
        now = time.monotonic()
        for generation_id, since in list(self._unheard.items()):
            if self._presence.total(answer_channel(generation_id)):
                self._unheard[generation_id] = now
            elif now - since > GRACE_SECONDS and generation_id in self._running:
                self._running[generation_id].end(CANCELLED)

    def stop(self, seconds: float) -> bool:
        """End all generations that still run, or let them go, so that other workers go on with them. False: not all
        endings could be written within `seconds`."""
        deadline = time.monotonic() + seconds
        left = [each for each in self._running.values() if self._succession.lets_go(each)]
        for generation in left:
            generation.let_go()
        for generation in list(self._running.values()):
            generation.end(PRODUCER_LOST)  # if it was not let go
        while not all(each in left and each.is_settled for each in self._running.values()):
            if time.monotonic() >= deadline:
                break
            gevent.sleep(0.01)
        for generation in left:
            if self._running.pop(generation.id, None) is not None:
                self._losses.left.add(generation.id)
                metrics.GENERATING.dec()
        return not self._running
