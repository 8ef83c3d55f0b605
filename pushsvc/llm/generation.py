"""One answer that is being made in this worker: it takes the model's response, bounds its time, and ends once."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import gevent.event

from pushsvc.llm.formats import counting, openai
from pushsvc.llm.formats.document import NoAnswer, read_document
from pushsvc.llm.formats.openai import Malformed
from pushsvc.llm.making import states
from pushsvc.llm.making.asking import Asking, Engine
from pushsvc.llm.making.outbox import Outbox
from pushsvc.llm.making.progress import Limits, Progress
from pushsvc.llm.making.reply import Broken, Reply, read_chunk
from pushsvc.llm.models.base import Call, Fault, Model, passing
from pushsvc.llm.outcome import COMPLETED, DATA_LOST, RUNNING, Ending, refused, timeout, upstream_error
from pushsvc.llm.request import Question
from pushsvc.llm.store import PendingFrames
from pushsvc.llm.trail import Trail

if TYPE_CHECKING:
    from pushsvc.llm.generations import Generations

logger = logging.getLogger(__name__)


class Generation:
    """An answer that this worker makes: it takes the model's response, and has it written to the log.

    Its life: RUNNING → ENDING by the first ending (`end`) → OVER once the ending is written (`on_written`) or cannot be
    (`on_broken`); straight to OVER if another worker has ended the generation. One step goes back: if a write is too
    large for Redis, ENDING → RUNNING, and at once, with another ending, to ENDING again (`on_too_large`). The model's
    response is used only while RUNNING.
    """

    __slots__ = (
        "_asking", "_begun", "_call", "_count", "_counts", "_ending", "_life", "_outbox", "_owner", "_paused",
        "_progress", "_reply", "_stream", "_trail", "headers", "id", "user",
    )  # fmt: skip

    def __init__(self, generation_id: str, user: str, owner: Generations, question: Question) -> None:
        self.id = generation_id
        self.user = user
        self.headers: dict[str, str] = {}  # of the model's response, passed on to the client
        self._life = states.RUNNING
        self._begun: gevent.event.Event | None = None  # see wait_begun
        self._stream = question.stream
        self._owner = owner
        self._trail = Trail(generation_id, user, question.about.model)
        self._progress = Progress(question.choices, time.monotonic())
        self._call: Call | None = None
        self._asking: Asking | None = None  # until the response begins
        self._reply: Reply | None = None
        self._counts = question.counts
        self._count: bytes | None = None  # a chunk with the count of tokens, for which the client did not ask
        self._outbox = Outbox()
        self._paused = False
        self._ending: Ending | None = None

    def ask(self, model: Model, question: Question, engine: Engine) -> None:
        """Send the question to the model."""
        self._asking = Asking(question, engine, self._progress.asked_at)
        self.ask_again(model, self._asking.body)

    def ask_again(self, model: Model, body: bytes) -> None:
        """Send the question, unless the answer has ended by now."""
        if self._life is states.RUNNING:
            self._reply, self._call = None, model.ask(body, self, self._trail.headers)
            if self._life is not states.RUNNING:
                self._hang_up(kindly=False)

    @property
    def streams(self) -> bool:
        """Whether the model's stream has begun."""
        return self._stream and self._reply is not None and self._reply.streams

    def wait_begun(self, woken: gevent.event.Event, seconds: float) -> None:
        """Wait for the model's stream or the end: at most so many seconds, or until another part sets `woken`."""
        self._begun = woken
        try:
            if not self.streams and self._life is not states.OVER:
                woken.wait(seconds)
        finally:
            self._begun = None

    def _wake(self) -> None:
        if self._begun is not None:
            self._begun.set()

    # Methods of ResponseHandler

    def began(self, status: int, headers: dict[str, str]) -> None:
        """Take the head of the model's response."""
        self.headers = passing(headers)
        self._progress.heard_at = time.monotonic()
        try:
            self._reply = Reply(status, headers)
        except Broken as error:
            self._fail(error)
            return
        if self._reply.refusal is None and self._asking is not None:
            self._asking.accepted()
            self._asking = None
        if self.streams:
            self._wake()

    def heard(self, piece: bytes) -> None:
        """Take a piece of the response's body."""
        if self._reply is None:
            return
        self._progress.heard_at = time.monotonic()
        try:
            events = self._reply.feed(piece)
        except Broken as error:
            self._fail(error)
            return
        if self._begun is not None and self.streams:
            self._wake()
        if events:
            self._say(events)

    def _say(self, events: list[bytes]) -> None:
        for data in events:
            if self._life is not states.RUNNING:
                return
            if data.startswith(b"{"):
                self._take(data)
            elif (bare := data.strip()).startswith(b"[DONE]"):
                self._progress.done()
                if self._progress.complete(whole=False):
                    self.end(Ending(COMPLETED))
                return  # else the end of the response tells whether it was cut
            elif bare:
                self._take(bare)

    def _take(self, data: bytes) -> None:
        try:
            chunk = read_chunk(data, first=not self._progress.spoke)
        except Broken as error:
            self._fail(error)
            return
        self._progress.take(chunk.value)
        if self._counts and "usage" in chunk.value:
            if counting.is_count(chunk.value):
                self._count = chunk.raw
                return
            if chunk.value["usage"] is None:
                chunk = chunk._replace(raw=counting.without_null(chunk.raw))
        self._outbox.add(chunk)
        if self._outbox.is_full and self._call is not None:
            self._paused = True
            self._call.pause()
        self._owner.on_pending(self)

    def complete(self) -> None:
        """Handle the end of the response. The answer is not always complete then: a stream may have been cut."""
        reply = self._reply
        document = None if reply is None else reply.document
        if reply is not None and reply.refusal is not None:
            if self._asks_again(reply.refusal[0], document or b""):
                return
            self.end(refused(*reply.refusal, document or b""))
        elif document is not None:
            self._take_document(document)
        elif reply is not None:
            self._say(reply.finish())
        self._end_of_response(Fault("upstream_closed", "The model stopped in the middle of its answer."), whole=True)

    def _asks_again(self, status: int, document: bytes) -> bool:
        if self._asking is None or self._life is not states.RUNNING:
            return False
        pause = self._asking.pause_after(status, document, time.monotonic())
        if pause is None:
            return False
        self._call = None
        self._owner.ask_later(self, self._asking.body, pause)
        return True

    def failed(self, fault: Fault) -> None:
        """Handle the failure of the response."""
        document = None if self._reply is None or self._reply.refusal is not None else self._reply.document
        if document:
            with contextlib.suppress(Malformed):
                self._progress.take(openai.parse(document).value)
            if self._progress.finished:  # all of it came, though the response did not end as it should
                self._take_document(document)
        self._end_of_response(fault, whole=False)

    def _end_of_response(self, fault: Fault, *, whole: bool) -> None:
        if self._life is not states.RUNNING:
            return
        make = timeout if fault.code == "connect_timeout" else upstream_error
        self.end(Ending(COMPLETED) if self._progress.complete(whole=whole) else make(str(fault), fault.code))

    def _take_document(self, body: bytes) -> None:
        try:
            chunk, answer = read_document(body)
        except NoAnswer as error:
            self._fail(Broken(str(error), said=error.error))
            return
        self._outbox.add(chunk)
        self.end(Ending(COMPLETED, answer=answer))

    def end(self, ending: Ending) -> None:
        """End the answer with what has been taken so far. Only the first ending counts."""
        if self._life is states.RUNNING:
            self._life = states.ENDING
            self._asking = None
            self._ending = replace(ending, headers=self.headers, count=self._count)
            self._hang_up(kindly=ending.state == COMPLETED)
            self._owner.on_pending(self)

    def _fail(self, error: Broken) -> None:
        """End with an error, or as completed if all of the answer had come."""
        failed = upstream_error(str(error), error.code, error.said)
        self.end(Ending(COMPLETED) if self._progress.finished else failed)

    def _hang_up(self, *, kindly: bool) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.release() if kindly else call.close()

    def check_limits(self, now: float, limits: Limits) -> None:
        """End the answer if it is complete, or has taken too long. `now`: monotonic time."""
        if self._life is states.RUNNING:
            ending = self._progress.ending(now, limits, streams=self._stream, paused=self._paused)
            if ending is not None:
                self._hang_up(kindly=False)  # the end of its response is not at hand
                self.end(ending)

    # Calls of the writer

    def next_write(self) -> tuple[PendingFrames, Ending | None]:
        """Give the next write; with an ending it is the last. Until it is written, every call gives the same."""
        return self._outbox.next_write(self.id, self._ending)

    def on_written(self, state: str) -> bool:
        """Note a write, and the state in Redis after it (empty: Redis has lost it). True: there is more to write."""
        self._outbox.written()
        if not state and self._life is states.RUNNING:  # Redis has lost it; the listeners are told
            self.end(DATA_LOST)
            return True
        if state != RUNNING:
            self._over(state)
            return False
        if self._paused and self._call is not None:
            self._paused = False
            self._progress.heard_at = time.monotonic()
            self._call.resume()
        return bool(self._outbox) or self._life is states.ENDING

    def on_too_large(self) -> None:
        """End with an error, because the write is larger than Redis takes. No ending can have been written before."""
        self._outbox.drop()
        self._life = states.RUNNING
        self.end(upstream_error("The model's answer is larger than Redis takes.", "upstream_too_long"))

    def on_broken(self) -> None:
        """End with an error of the service, because writing has failed for good."""
        self._outbox.drop()
        if self._life is states.RUNNING:
            self.end(upstream_error("The service made an error; it was logged.", "internal_error"))
        else:  # the search for lost generations will write another ending
            logger.error("the ending of generation %s cannot be written", self.id)
            self._over("")

    def _over(self, state: str) -> None:
        self._life = states.OVER
        self._ending = self._ending or Ending(state)
        self._trail.ended(self._ending)
        self._hang_up(kindly=False)
        self._wake()
        self._owner.on_over(self)
