"""One answer that is being made in this worker: it takes the model's response, bounds its time, and ends once."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

import gevent.event

from pushsvc.events import exact_json
from pushsvc.llm.formats import counting, openai
from pushsvc.llm.formats.alike import Alike
from pushsvc.llm.formats.continuing import Past
from pushsvc.llm.formats.document import NoAnswer, read_document
from pushsvc.llm.formats.openai import Chunk, Malformed
from pushsvc.llm.making import sizes, states
from pushsvc.llm.making.asking import Asking, Engine
from pushsvc.llm.making.progress import Limits
from pushsvc.llm.making.reply import Broken, Reply, read_chunk
from pushsvc.llm.making.written import WrittenAnswer
from pushsvc.llm.models.base import Fault, Model, passing
from pushsvc.llm.outcome import COMPLETED, PRODUCER_LOST, Ending, refused, timeout, upstream_error
from pushsvc.llm.request import Question

if TYPE_CHECKING:
    from pushsvc.llm.generations import Generations

logger = logging.getLogger(__name__)


class Generation(WrittenAnswer):
    """An answer that this worker makes: it takes the model's response, and has it written to the log. The model's
    response is used only while the answer is RUNNING."""

    __slots__ = ("_alike", "_asking", "_counts", "_reply", "_stream", "_streams", "continues")

    def __init__(
        self, generation_id: str, user: str, owner: Generations, question: Question, past: Past | None = None
    ) -> None:
        super().__init__(generation_id, user, owner, question, past)
        self.continues = question.continues
        self._stream = self._streams = question.stream  # the client wants a stream; the model is asked for one
        self._asking: Asking | None = None  # until the model has accepted the question
        self._reply: Reply | None = None
        self._counts = question.counts
        self._alike: Alike | None = None  # the newest chunk that carries nothing but text

    def ask(self, model: Model, question: Question, engine: Engine) -> None:
        """Send the question to the model."""
        self._asking = asking = Asking(question, engine, self._progress.asked_at)
        self._shape = None if asking.shape is None else asking.shape.write()
        self.ask_again(model, asking.body)

    def ask_again(self, model: Model, body: bytes) -> None:
        """Send the question, unless the answer has ended by now."""
        if self._life is states.RUNNING:
            self._streams = self._asking is not None and self._asking.streams
            self._reply, self._call = None, model.ask(body, self, self._trail.headers)
            if self._life is not states.RUNNING:
                self._hang_up(kindly=False)

    @property
    def wants_stream(self) -> bool:
        """Whether the client wants a stream."""
        return self._stream

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

    # Methods of ResponseHandler

    def began(self, status: int, headers: dict[str, str]) -> None:
        """Take the head of the model's response."""
        self.headers = passing(headers)
        self._progress.heard_at = time.monotonic()
        try:
            unasked = self._streams and not self._stream
            self._reply = Reply(status, headers, sizes.MOST_UNASKED if unasked else sizes.MOST_ANSWER)
        except Broken as error:
            self._fail(error)
            return
        if self._reply.refusal is None and self._asking is not None and not self._asking.begins(headers):
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
            if self._life is not states.RUNNING or self._reply is None:  # it is asked again
                return
            if self._alike is not None and self._progress.is_midway and (chunk := self._alike.read(data)) is not None:
                self._add(chunk)
            elif data.startswith(b"{"):
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
        if self._asking is not None and self._asking.looks_different(chunk.value):
            self._ask_whole(self._asking)
            return
        if self._past is not None:
            chunk = self._past.joins(chunk)
        if self._asking is not None and chunk.value.get("usage"):
            self._asking.counted = True
        self._progress.take(chunk.value)
        if self._past is None and self._progress.is_midway:
            self._alike = Alike.of(chunk)
        self._add(chunk)

    def _add(self, chunk: Chunk) -> None:
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
            self.end(PRODUCER_LOST if self._past else refused(*reply.refusal, document or b""))
        elif document is not None:
            self._take_document(document)
        elif reply is not None:
            self._say(reply.finish())
            if self._life is states.RUNNING and not self._progress.complete(whole=True) and self._asks_whole():
                return
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

    def _asks_whole(self) -> bool:
        """Ask for the answer in one piece, if a stream was asked for unasked, and nothing of it came."""
        asking = self._asking
        if asking is None or self._progress.spoke or not asking.asks_whole():
            return False
        self._ask_whole(asking)
        return True

    def _ask_whole(self, asking: Asking) -> None:
        self._hang_up(kindly=False)
        self._reply = self._shape = None
        self._owner.ask_later(self, asking.body, 0.0)

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
        make = timeout if fault.code in {"connect_timeout", "first_token_timeout"} else upstream_error
        self.end(Ending(COMPLETED) if self._progress.complete(whole=whole) else make(str(fault), fault.code))

    def _take_document(self, body: bytes) -> None:
        if self._past is not None and self._past.so_far.text:  # nobody knows whether it has the text before
            self.end(PRODUCER_LOST)
            return
        try:
            chunk, answer = read_document(body)
        except NoAnswer as error:
            self._fail(Broken(str(error), said=error.error))
            return
        self._outbox.add(chunk)
        if self._asking is not None and answer is not None:
            self._asking.learn(exact_json.loads(answer))
        self.end(Ending(COMPLETED, answer=answer))

    def _on_end(self, ending: Ending) -> None:
        if self._asking is not None and ending.state == COMPLETED:
            self._asking.completed()
        self._asking = None

    def _fail(self, error: Broken) -> None:
        """End with an error, or as completed if all of the answer had come."""
        if error.code == "upstream_failed" and self._asks_whole():  # to have the server's own refusal
            return
        failed = upstream_error(str(error), error.code, error.said)
        self.end(Ending(COMPLETED) if self._progress.finished else failed)

    def check_limits(self, now: float, limits: Limits) -> None:
        """End the answer if it is complete, or has taken too long. `now`: monotonic time."""
        if self._life is states.RUNNING:
            ending = self._progress.ending(now, limits, streams=self._streams, paused=self._paused)
            if ending is not None:
                self._hang_up(kindly=False)  # the end of its response is not at hand
                self.end(ending)
