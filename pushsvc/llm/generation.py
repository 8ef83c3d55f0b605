"""One answer that is being made here: what its model says, how long that takes, and how it ends."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import Final, Protocol

import gevent.event

from pushsvc.events import exact_json, sse
from pushsvc.llm import openai
from pushsvc.llm.joining import Json
from pushsvc.llm.models.base import Call, Fault, Model, passing
from pushsvc.llm.models.body import Body, Unreadable
from pushsvc.llm.openai import Chunk, Malformed
from pushsvc.llm.outcome import COMPLETED, DATA_LOST, RUNNING, Ending, refused, timeout, upstream_error
from pushsvc.llm.progress import Limits, Progress
from pushsvc.llm.request import Question
from pushsvc.llm.store import PendingFrames

logger = logging.getLogger(__name__)

MOST_EVENT_BYTES: Final = 8 * 2**20  # of a chunk: images come in one
MOST_ANSWER_BYTES: Final = 16 * 2**20
EVENT_BYTES: Final = 64  # what an event takes in the log, beside what it says: so many empty ones are too long as well
MOST_UNWRITTEN_BYTES: Final = 2**18  # then the model has to wait for Redis
MOST_REFUSAL_BYTES: Final = 2**18


class Desk(Protocol):
    """Who has written down what a generation says."""

    def waits(self, generation: Generation) -> None:
        """It has something to say; its `words` are asked for in its turn."""

    def ended(self, generation: Generation) -> None:
        """Its ending is written."""


class Generation:
    """One that runs here: hears the model, and has the scribe write what it says."""

    __slots__ = (
        "_body", "_call", "_desk", "_ending", "_number", "_overhead", "_paused", "_pending", "_pending_bytes",
        "_progress", "_refused", "_saying", "_stream", "begun", "headers", "id", "over", "streams", "user",
    )  # fmt: skip

    def __init__(self, generation_id: str, user: str, desk: Desk, question: Question) -> None:
        self.id = generation_id
        self.user = user
        self.begun: gevent.event.Event | None = None  # somebody waits for the head of the model's answer, or the end
        self.streams = False  # the model's stream came
        self.over = False  # its ending is written
        self.headers: dict[str, str] = {}  # of the model's response, those that concern who asked
        self._stream = question.stream
        self._desk = desk
        self._progress = Progress(question.choices, time.monotonic())
        self._call: Call | None = None
        self._body: Body | None = None
        self._refused: tuple[int, dict[str, str]] | None = None  # status and headers of an answer that is none
        self._overhead = 0  # bytes
        self._pending: list[Chunk] = []
        self._pending_bytes = 0
        self._paused = False
        self._number = 0
        self._saying: tuple[PendingFrames, Ending | None] | None = None  # asked to be written, and not answered yet
        self._ending: Ending | None = None

    def ask(self, model: Model, body: bytes) -> None:
        call = model.ask(body, self)
        if self._ending is None:
            self._call = call
        else:
            call.close()

    @property
    def answering(self) -> bool:
        """The model has begun to answer, or all is over."""
        return self.streams or self.over

    # What the model says

    def began(self, status: int, headers: dict[str, str]) -> None:
        self.headers = passing(headers)
        self._progress.heard_at = time.monotonic()
        if not 200 <= status < 300:
            self._refused = (status, headers)
        try:
            self._body = Body(headers, MOST_ANSWER_BYTES, MOST_EVENT_BYTES, refusal=self._refused is not None)
        except Unreadable as error:
            if self._refused is None:
                self._fail(str(error), "upstream_malformed")
            return
        self._see_stream(self._body)

    def _see_stream(self, body: Body) -> None:
        if self._stream and self._refused is None and not self.streams and body.streams:
            self.streams = True
            self._tell()

    def heard(self, piece: bytes) -> None:
        if self._body is None:
            return
        self._progress.heard_at = time.monotonic()
        try:
            events = self._body.feed(piece)
        except Unreadable as error:
            if self._refused is None:
                self._fail(str(error), "upstream_malformed")
        except sse.TooLong as error:
            self._fail(f"The model sent what is no event: {error}.", "upstream_malformed")
        else:
            if not self.streams:
                self._see_stream(self._body)
            self._overhead += EVENT_BYTES * len(events)
            if self._body.bytes + self._overhead > (MOST_REFUSAL_BYTES if self._refused else MOST_ANSWER_BYTES):
                self._fail("The model's answer is too long.", "upstream_too_long")
            elif events:
                self._say(events)

    def _say(self, events: list[bytes]) -> None:
        for data in events:
            if self._ending is not None:
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
        if self._pending_bytes > MOST_UNWRITTEN_BYTES and self._call is not None:
            self._paused = True
            self._call.pause()
        self._desk.waits(self)

    def complete(self) -> None:
        """The model's response ended, in a stream perhaps without saying that the answer has."""
        document = None if self._body is None else self._body.document
        if self._refused is not None:
            self.end(refused(*self._refused, document or b""))
        elif document is not None:
            self._answered(document)
        elif self._body is not None:
            self._say(self._body.finish())
        self._end_of_response(Fault("upstream_closed", "The model stopped in the middle of its answer."), whole=True)

    def failed(self, fault: Fault) -> None:
        document = None if self._body is None or self._refused is not None else self._body.document
        if document:
            with contextlib.suppress(Malformed):
                self._progress.take(openai.parse(document).value)
            if self._progress.finished:  # all of it came, though the response did not end as it should
                self._answered(document)
        self._end_of_response(fault, whole=False)

    def _end_of_response(self, fault: Fault, *, whole: bool) -> None:
        if self._ending is not None:
            return
        if self._progress.complete(whole=whole):
            self.end(Ending(COMPLETED))
        else:
            make = timeout if fault.code == "connect_timeout" else upstream_error
            self.end(make(str(fault), fault.code))

    def _answered(self, body: bytes) -> None:
        """With all of an answer at once."""
        if not body.strip():
            self._fail("The model sent nothing.", "upstream_malformed")
            return
        try:
            body = openai.parse(body.strip()).raw
        except Malformed as error:
            self._fail(f"The model sent what cannot be read: {error}.", "upstream_malformed")
            return
        whole = exact_json.loads(body)
        failure = openai.error_of(whole)
        if failure is not None or not whole.get("choices"):
            self._fail("The model sent no answer.", "upstream_malformed", failure)
            return
        self._pending.append(Chunk(exact_json.dumps(openai.chunk_of(whole), lone=True), {}))
        self.end(Ending(COMPLETED, answer=body if openai.is_completion(whole) else None))

    # Its life

    def end(self, ending: Ending) -> None:
        """Say no more than what was heard. The first ending counts."""
        if self._ending is None:
            self._ending = replace(ending, headers=self.headers) if self.headers else ending
            self._hang_up(kindly=ending.state == COMPLETED)
            self._desk.waits(self)

    def _fail(self, message: str, code: str, said: Json | None = None) -> None:
        """By the model's fault; unless everything was said before."""
        self.end(Ending(COMPLETED) if self._progress.finished else upstream_error(message, code, said))

    def _hang_up(self, *, kindly: bool) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.release() if kindly else call.close()

    def look(self, now: float, limits: Limits) -> None:
        """End it if it is complete, or took too long."""
        if self._ending is None:
            ending = self._progress.ending(now, limits, streams=self._stream, paused=self._paused)
            if ending is not None:
                self._hang_up(kindly=False)  # the end of its response is not at hand
                self.end(ending)

    def words(self) -> tuple[PendingFrames, Ending | None]:
        """See Writable."""
        if self._saying is None:
            self._number += 1
            frames = openai.frames(self._pending) if self._pending else []
            self._pending, self._pending_bytes = [], 0
            self._saying = PendingFrames(self.id, self._number, frames), self._ending
        return self._saying

    def written(self, state: str) -> bool:
        self._saying = None
        if not state and self._ending is None:  # Redis lost it; who listens is told
            self.end(DATA_LOST)
            return True
        if state != RUNNING:
            self._over(state)
            return False
        if self._paused and self._call is not None:
            self._paused = False
            self._progress.heard_at = time.monotonic()
            self._call.resume()
        return bool(self._pending) or self._ending is not None

    def too_long(self) -> None:
        """Redis will never take it. Another ending than this has not been written."""
        self._pending, self._pending_bytes, self._saying = [], 0, None
        self._ending = None
        self.end(upstream_error("The model's answer is larger than Redis takes.", "upstream_too_long"))

    def broken(self) -> None:
        self._pending, self._pending_bytes, self._saying = [], 0, None
        if self._ending is None:
            self.end(upstream_error("The service made an error; it was logged.", "internal_error"))
        else:  # who looks for lost generations will write another
            logger.error("the ending of generation %s cannot be written", self.id)
            self._over("")

    def _over(self, state: str) -> None:
        """It has ended, by this worker or by another."""
        self._ending = self._ending or Ending(state)
        self._hang_up(kindly=False)
        self.over = True
        self._tell()
        self._desk.ended(self)

    def _tell(self) -> None:
        if self.begun is not None:
            self.begun.set()
