"""One answer that is being made here: what its model says, how long that takes, and how it ends."""

from __future__ import annotations

import logging
import time
from typing import Final, NamedTuple, Protocol

import gevent.event
import orjson

from pushsvc import chunks, sse
from pushsvc.chunks import Chunk
from pushsvc.ending import COMPLETED, PRODUCER_LOST, RUNNING, Ending, refused, timeout, upstream_error
from pushsvc.model import Call, Fault, Model
from pushsvc.records import Words

logger = logging.getLogger(__name__)

MOST_EVENT_BYTES: Final = 2**20  # of a chunk
MOST_ANSWER_BYTES: Final = 16 * 2**20
EVENT_BYTES: Final = 64  # what an event takes in the log, beside what it says: so many empty ones are too long as well
MOST_UNWRITTEN_BYTES: Final = 2**18  # then the model has to wait for Redis
MOST_REFUSAL_BYTES: Final = 2**18


class Limits(NamedTuple):
    """Seconds that may pass: until the first token (of one that is not streamed: until all of it), between two, and
    from the question to the end."""

    first_token: float
    between_tokens: float
    total: float


class Desk(Protocol):
    """Who has written down what a generation says."""

    def waits(self, generation: Generation) -> None:
        """It has something to say; its `words` are asked for in its turn."""

    def ended(self, generation: Generation) -> None:
        """Its ending is written."""


class Generation:
    """One that runs here: hears the model, and has the scribe write what it says."""

    __slots__ = (
        "_asked_at", "_bytes", "_call", "_desk", "_ending", "_finished", "_heard_at", "_number", "_paused", "_pending",
        "_pending_bytes", "_reader", "_refused", "_saying", "_whole", "begun", "id", "over", "stream", "streams",
        "user",
    )  # fmt: skip

    def __init__(self, generation_id: str, user: str, desk: Desk, *, stream: bool) -> None:
        self.id = generation_id
        self.user = user
        self.stream = stream
        self.begun: gevent.event.Event | None = None  # somebody waits for the head of the model's answer, or the end
        self.streams = False  # the head of the model's stream came
        self.over = False  # its ending is written
        self._desk = desk
        self._asked_at = time.monotonic()
        self._heard_at: float | None = None  # monotonic time of the last chunk
        self._finished = False  # the model gave a reason to end
        self._call: Call | None = None
        self._reader: sse.Reader | None = None
        self._whole: list[bytes] | None = None  # pieces of a body that is no stream
        self._refused: tuple[int, dict[str, str]] | None = None  # status and headers of an answer that is none
        self._bytes = 0
        self._pending: list[Chunk] = []
        self._pending_bytes = 0
        self._paused = False
        self._number = 0
        self._saying: tuple[Words, Ending | None] | None = None  # asked to be written, and not answered yet
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
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if status != 200:
            self._refused, self._whole = (status, headers), []
        elif kind == "application/json":
            self._whole = []
        elif not self.stream or (kind and kind != "text/event-stream"):
            self.end(upstream_error(f"The model answered with {kind or 'nothing known'}.", "upstream_malformed"))
        else:
            self._reader = sse.Reader(MOST_EVENT_BYTES)
            self.streams = True
            self._tell()

    def heard(self, body: bytes) -> None:
        self._bytes += len(body)
        if self._bytes > (MOST_REFUSAL_BYTES if self._refused else MOST_ANSWER_BYTES):
            self.end(upstream_error("The model's answer is too long.", "upstream_too_long"))
        elif self._whole is not None:
            self._whole.append(body)
        elif self._reader is not None:
            try:
                self._say(self._reader.feed(body))
            except sse.TooLong as error:
                self.end(upstream_error(f"The model sent what is no event: {error}.", "upstream_malformed"))

    def _say(self, events: list[bytes]) -> None:
        self._bytes += EVENT_BYTES * len(events)
        for data in events:
            if self._ending is not None:
                return
            if data == b"[DONE]":
                self.end(Ending(COMPLETED))
            elif data:
                self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            chunk = chunks.parse(data)
        except chunks.Malformed as error:
            self.end(upstream_error(f"The model sent what cannot be read: {error}.", "upstream_malformed"))
            return
        failure = chunks.error_of(chunk.value)
        if failure is not None:
            self.end(upstream_error("The model failed.", "upstream_failed", failure))
            return
        for choice in chunk.value.get("choices") or ():
            if choice.get("finish_reason"):
                self._finished = True
        self._heard_at = time.monotonic()
        self._pending.append(chunk)
        self._pending_bytes += len(data)
        if self._pending_bytes > MOST_UNWRITTEN_BYTES and self._call is not None:
            self._paused = True
            self._call.pause()
        self._desk.waits(self)

    def complete(self) -> None:
        """The model's response ended, in a stream without saying that the answer has."""
        if self._whole is not None:
            self._answered(b"".join(self._whole))
            return
        if self._reader is not None:
            self._say(self._reader.finish())
        if self._ending is None:
            cut = upstream_error("The model stopped in the middle of its answer.", "upstream_closed")
            self.end(Ending(COMPLETED) if self._finished else cut)

    def _answered(self, body: bytes) -> None:
        """With a document: a refusal, or all of an answer at once."""
        if self._refused is not None:
            self.end(refused(*self._refused, body))
            return
        try:
            whole = chunks.parse(body).value
        except chunks.Malformed as error:
            self.end(upstream_error(f"The model sent what cannot be read: {error}.", "upstream_malformed"))
            return
        failure = chunks.error_of(whole)
        if failure is not None or not whole.get("choices"):
            self.end(upstream_error("The model sent no answer.", "upstream_malformed", failure))
            return
        self._pending.append(Chunk(orjson.dumps(chunks.chunk_of(whole)), {}))
        self.end(Ending(COMPLETED, answer=body))

    def failed(self, fault: Fault) -> None:
        make = timeout if fault.code == "connect_timeout" else upstream_error
        self.end(make(str(fault), fault.code))

    # Its life

    def end(self, ending: Ending) -> None:
        """Say no more than what was heard. The first ending counts."""
        if self._ending is None:
            self._ending = ending
            self._hang_up(kindly=ending.state == COMPLETED)
            self._desk.waits(self)

    def _hang_up(self, *, kindly: bool) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.release() if kindly else call.close()

    def look(self, now: float, limits: Limits) -> None:
        """End it if it took too long."""
        if self._ending is not None:
            return
        if now - self._asked_at > limits.total:
            self.end(timeout("The whole answer took too long.", "total_timeout"))
        elif self._heard_at is not None:
            if now - self._heard_at > limits.between_tokens and not self._paused:
                self.end(timeout("The model fell silent in the middle of its answer.", "between_tokens_timeout"))
        elif self.stream and now - self._asked_at > limits.first_token:
            self.end(timeout("The model did not begin to answer in time.", "first_token_timeout"))

    def words(self) -> tuple[Words, Ending | None]:
        """See Speaker."""
        if self._saying is None:
            self._number += 1
            frames = chunks.frames(self._pending) if self._pending else []
            self._pending, self._pending_bytes = [], 0
            self._saying = Words(self.id, self._number, frames), self._ending
        return self._saying

    def written(self, state: str) -> bool:
        self._saying = None
        if not state and self._ending is None:  # Redis lost it; who listens is told
            self.end(PRODUCER_LOST)
            return True
        if state != RUNNING:
            self._over(state)
            return False
        if self._paused and self._call is not None:
            self._paused = False
            self._heard_at = time.monotonic()
            self._call.resume()
        return bool(self._pending) or self._ending is not None

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
