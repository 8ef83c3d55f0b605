"""One answer that is being made in this worker: it takes the model's response, bounds its time, and ends once."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import gevent.event

from pushsvc import metrics
from pushsvc.events import exact_json
from pushsvc.events.sse_parser import TooLong
from pushsvc.llm import sizes, states
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.document import NoAnswer, read_document
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.formats.openai import Chunk, Malformed
from pushsvc.llm.models.base import Call, Fault, Model, passing
from pushsvc.llm.models.body import Body, Unreadable
from pushsvc.llm.outcome import COMPLETED, DATA_LOST, RUNNING, Ending, refused, timeout, upstream_error
from pushsvc.llm.progress import Limits, Progress
from pushsvc.llm.request import Question
from pushsvc.llm.store import PendingFrames

if TYPE_CHECKING:
    from pushsvc.llm.generations import Generations

logger = logging.getLogger(__name__)


class Generation:
    """An answer that this worker makes: it takes the model's response, and has it written to the log.

    A generation has two states. The response: ASKED → WHOLE → STREAMING, or ASKED → REFUSED; STREAMING may follow only
    at the first bytes of the body. The life: RUNNING → ENDING by the first ending (`end`) → OVER once the ending is
    written (`on_written`) or cannot be (`on_broken`); straight to OVER if another worker has ended the generation. One
    step goes back: if a write is too large for Redis, ENDING → RUNNING, and at once, with another ending, to ENDING
    again (`on_too_large`). The model's response is used only while RUNNING.
    """

    __slots__ = (
        "_begun", "_body", "_call", "_ending", "_life", "_number", "_overhead", "_owner", "_paused", "_pending",
        "_pending_bytes", "_progress", "_refusal", "_response", "_stream", "_writing", "headers", "id", "user",
    )  # fmt: skip

    def __init__(self, generation_id: str, user: str, owner: Generations, question: Question) -> None:
        self.id = generation_id
        self.user = user
        self.headers: dict[str, str] = {}  # of the model's response, passed on to the client
        self._response = states.ASKED
        self._life = states.RUNNING
        self._begun: gevent.event.Event | None = None  # see wait_begun
        self._stream = question.stream
        self._owner = owner
        self._progress = Progress(question.choices, time.monotonic())
        self._call: Call | None = None
        self._body: Body | None = None
        self._refusal: tuple[int, dict[str, str]] | None = None  # status and headers, if REFUSED
        self._overhead = 0  # bytes
        self._pending: list[Chunk] = []
        self._pending_bytes = 0
        self._paused = False
        self._number = 0
        self._writing: tuple[PendingFrames, Ending | None] | None = None  # being written, repeated until Redis has it
        self._ending: Ending | None = None

    def ask(self, model: Model, body: bytes) -> None:
        """Send the question to the model."""
        call = model.ask(body, self)
        if self._life is states.RUNNING:
            self._call = call
        else:
            call.close()

    @property
    def streams(self) -> bool:
        """Whether the model's stream has begun."""
        return self._response is states.STREAMING

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
        if not 200 <= status < 300:
            self._response, self._refusal = states.REFUSED, (status, headers)
        elif self._response is states.ASKED:
            self._response = states.WHOLE
        refuses = self._response is states.REFUSED
        try:
            self._body = Body(headers, sizes.MOST_ANSWER, sizes.MOST_EVENT, refusal=refuses)
        except Unreadable as error:
            if not refuses:
                self._fail(str(error), "upstream_malformed")
        else:
            self._notice_stream(self._body)

    def _notice_stream(self, body: Body) -> None:
        if self._stream and self._response is states.WHOLE and body.streams:
            self._response = states.STREAMING
            self._wake()

    def heard(self, piece: bytes) -> None:
        """Take a piece of the response's body."""
        if self._body is None:
            return
        self._progress.heard_at = time.monotonic()
        try:
            events = self._body.feed(piece)
        except Unreadable as error:
            if self._response is not states.REFUSED:
                self._fail(str(error), "upstream_malformed")
        except TooLong as error:
            self._fail(f"The model sent what is no event: {error}.", "upstream_malformed")
        else:
            if self._response is states.WHOLE:
                self._notice_stream(self._body)
            self._overhead += sizes.EVENT * len(events)
            most = sizes.MOST_REFUSAL if self._response is states.REFUSED else sizes.MOST_ANSWER
            if self._body.bytes + self._overhead > most:
                self._fail("The model's answer is too long.", "upstream_too_long")
            elif events:
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
            chunk = openai.parse(data)
        except Malformed as error:
            self._fail(f"The model sent what cannot be read: {error}.", "upstream_malformed")
            return
        if "error" in chunk.value and (failure := openai.error_of(exact_json.loads(chunk.raw))) is not None:
            self._fail("The model failed.", "upstream_failed", failure)
            return
        if not self._progress.spoke and openai.is_completion(chunk.value):  # all at once, and only framed as a stream
            chunk = openai.parse(exact_json.dumps(openai.chunk_of(exact_json.loads(chunk.raw)), lone=True))
        self._progress.take(chunk.value)
        self._pending.append(chunk)
        self._pending_bytes += len(data)
        if self._pending_bytes > sizes.MOST_UNWRITTEN and self._call is not None:
            self._paused = True
            self._call.pause()
        self._owner.on_pending(self)

    def complete(self) -> None:
        """Handle the end of the response. The answer is not always complete then: a stream may have been cut."""
        document = None if self._body is None else self._body.document
        if self._refusal is not None:
            self.end(refused(*self._refusal, document or b""))
        elif document is not None:
            self._take_document(document)
        elif self._body is not None:
            self._say(self._body.finish())
        self._end_of_response(Fault("upstream_closed", "The model stopped in the middle of its answer."), whole=True)

    def failed(self, fault: Fault) -> None:
        """Handle the failure of the response."""
        document = None if self._body is None or self._refusal is not None else self._body.document
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
            self._fail(str(error), "upstream_malformed", error.error)
            return
        self._pending.append(chunk)
        self.end(Ending(COMPLETED, answer=answer))

    def end(self, ending: Ending) -> None:
        """End the answer with what has been taken so far. Only the first ending counts."""
        if self._life is states.RUNNING:
            self._life = states.ENDING
            self._ending = replace(ending, headers=self.headers) if self.headers else ending
            self._hang_up(kindly=ending.state == COMPLETED)
            self._owner.on_pending(self)

    def _fail(self, message: str, code: str, said: Json | None = None) -> None:
        """End with an error of the model (`said`: in its own words), or as completed if all of the answer had come."""
        self.end(Ending(COMPLETED) if self._progress.finished else upstream_error(message, code, said))

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
        if self._writing is None:
            self._number += 1
            frames = openai.frames(self._pending) if self._pending else []
            self._pending, self._pending_bytes = [], 0
            self._writing = PendingFrames(self.id, self._number, frames), self._ending
        return self._writing

    def on_written(self, state: str) -> bool:
        """Note a write, and the state in Redis after it (empty: Redis has lost it). True: there is more to write."""
        self._writing = None
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
        return bool(self._pending) or self._life is states.ENDING

    def on_too_large(self) -> None:
        """End with an error, because the write is larger than Redis takes. No ending can have been written before."""
        self._pending, self._pending_bytes, self._writing = [], 0, None
        self._life = states.RUNNING
        self.end(upstream_error("The model's answer is larger than Redis takes.", "upstream_too_long"))

    def on_broken(self) -> None:
        """End with an error of the service, because writing has failed for good."""
        self._pending, self._pending_bytes, self._writing = [], 0, None
        if self._life is states.RUNNING:
            self.end(upstream_error("The service made an error; it was logged.", "internal_error"))
        else:  # the search for lost generations will write another ending
            logger.error("the ending of generation %s cannot be written", self.id)
            self._over("")

    def _over(self, state: str) -> None:
        self._life = states.OVER
        self._ending = self._ending or Ending(state)
        metrics.GENERATIONS.labels(self._ending.state).inc()
        metrics.UPSTREAM.observe(time.monotonic() - self._progress.asked_at)
        self._hang_up(kindly=False)
        self._wake()
        self._owner.on_over(self)
