"""POST /publish with application/x-ndjson: a stream of events, an event a line, for as long as the client likes.

Lines are read as they come, and appended in groups: while one round trip to Redis is under way, the next group gathers
in the kernel's buffers. The answer lines of a group are written before more is read, so a client that does not read its
answers is not read from either, and holds no memory here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import gevent
import orjson
from flask import Response
from gunicorn.http.errors import ParseException

from pushsvc.calls.arguments import read_json
from pushsvc.calls.call import Call, cut_off
from pushsvc.concurrency.shares import SharedSlice
from pushsvc.delivery.transports.hangup import hang_up
from pushsvc.errors import Invalid, PushError, TooLarge, TooManyRequests, Unauthorized, Unavailable, UnsupportedMedia
from pushsvc.events import exact_json
from pushsvc.events.lines import Lines
from pushsvc.events.publication import Publication
from pushsvc.publishing.publisher import Answer, Publisher, count_events, refused
from pushsvc.web.http.arriving import ArrivingBody

NDJSON: Final = "application/x-ndjson"
LOOK_SECONDS: Final = 0.5  # between two looks whether the worker is stopping, while nothing comes
PAUSE_SECONDS: Final = 0.02  # in which nothing comes: then the client waits for answers
MOST_HELD_BYTES: Final = 8 * 2**20  # of answers
HOLDS: Final = "x-pushsvc-holds"  # a header that our nginx sets
STALLED_SECONDS: Final = 60.0  # how long a client may leave its answers unread

Checked = Publication | PushError


def publish_stream(call: Call, publisher: Publisher) -> Response:
    """Answer the request, line by line. Raises UnsupportedMedia for a body in a coding."""
    if (call.header("content-encoding") or "identity").strip().lower() not in ("", "identity"):
        raise UnsupportedMedia("Content-Encoding: a stream of events comes as it is.")
    if call.closes is not None:
        call.closes()  # where the stream ends early, the rest of the body is nothing to read
    if call.patient is not None:
        call.patient()
    body = ArrivingBody(call.body)
    try:
        while not body.begin(LOOK_SECONDS) and not call.service.capacity.stopping:
            pass
    except (OSError, ParseException) as error:
        raise cut_off(error) from error
    stream = _Stream(call, publisher)
    headers = {"Content-Type": NDJSON, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = Response(stream.answers(body), headers=headers)
    response.call_on_close(body.close)
    return response


class _Stream:
    """One request, whose lines are published."""

    def __init__(self, call: Call, publisher: Publisher) -> None:
        self._publisher = publisher
        self._identity = publisher.identity
        self._verifier = call.service.verifier
        self._capacity = call.service.capacity
        self._client = call.client
        self._holds = call.header(HOLDS) is not None
        self._lines = Lines(publisher.limits.item_bytes)

    def answers(self, body: ArrivingBody) -> Iterator[bytes]:
        """Publish line by line, and give the answer lines. Ends with the body, or when the worker stops: what was not
        answered by then is to be sent again."""
        try:
            for answered in self._held_back(self._published(body)) if self._holds else self._published(body):
                if answered:
                    with self._cut_if_stalled():
                        yield answered
        except (OSError, ParseException):  # the client left, or what it sends is cut off: so is the answer
            hang_up(self._client)

    def _published(self, body: ArrivingBody) -> Iterator[bytes]:
        """Publish what comes, and give the answer lines; b'' where nothing came for a moment."""
        while True:
            piece = body.read(LOOK_SECONDS if not self._holds else PAUSE_SECONDS)
            if piece is None:
                if self._capacity.stopping:
                    return
                yield b""
                continue
            yield from self._answered(self._lines.feed(piece) if piece else self._lines.finish())
            if not piece or self._capacity.stopping:
                return

    def _held_back(self, answers: Iterator[bytes]) -> Iterator[bytes]:
        """Give no answer before the first pause, or the end, or MOST_HELD_BYTES: nginx stops sending a request that it
        cannot send at once if its answer has begun, and then a long file would never end."""
        held: list[bytes] = []
        size = 0
        for answered in answers:
            held.append(answered)
            size += len(answered)
            if (held and not answered) or size > MOST_HELD_BYTES:
                break
        self._holds = False
        yield b"".join(held)
        yield from answers

    @contextlib.contextmanager
    def _cut_if_stalled(self) -> Iterator[None]:
        """Wrap a write by the server: a client that reads no answers, and sends no more, would stay for ever."""
        timer = gevent.get_hub().loop.timer(STALLED_SECONDS)
        timer.start(hang_up, self._client)
        try:
            yield
        finally:
            timer.stop()
            timer.close()

    def _answered(self, lines: list[bytes | None]) -> Iterator[bytes]:
        """Publish these lines in groups of as many events as a batch may have. None: a line was too long."""
        group: list[Checked] = []
        events, turn = 0, SharedSlice()
        for line in lines:
            turn.yield_if_over()  # a piece may hold thousands of lines, and bad ones are answered without a wait
            each = self._check(line)
            size = count_events([each])
            if events + size > self._publisher.limits.batch or len(group) >= self._publisher.limits.batch:
                yield self._written(group)
                group, events = [], 0
            group.append(each)
            events += size
        if group:
            yield self._written(group)

    def _written(self, group: list[Checked]) -> bytes:
        try:
            answers = self._publisher.publish_checked(group)
        except (TooManyRequests, TooLarge):
            answers = list(self._one_by_one(group))
        except Unavailable as error:
            answers = [refused(each if isinstance(each, PushError) else error) for each in group]
        return b"".join(map(_line, answers))

    def _one_by_one(self, group: list[Checked]) -> Iterator[Answer]:
        """Publish of a group that is over a rate as many lines as are not, up to the first that is."""
        met: TooManyRequests | None = None
        for each in group:
            if met is not None:
                yield refused(each if isinstance(each, PushError) else met)
                continue
            try:
                yield from self._publisher.publish_checked([each])
            except TooManyRequests as error:
                met = error
                yield refused(error)
            except (TooLarge, Unavailable) as error:
                yield refused(error)

    def _check(self, line: bytes | None) -> Checked:
        try:
            self._verifier.check(self._identity)
        except Unauthorized as error:
            return error.to_keep()
        if line is None:
            return TooLarge(f"The line is longer than {self._lines.most} bytes.")
        try:
            item = read_json(exact_json.loads_items, line, self._publisher.limits.item_values, "line")
        except (Invalid, TooLarge) as error:
            return error.to_keep()
        return self._publisher.check(item)


def _line(answer: Answer) -> bytes:
    return orjson.dumps(answer) + b"\n"
