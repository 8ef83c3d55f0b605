"""The lines of a publishing stream that have no answer yet."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from pushsvc.client.errors import PublishError, ServiceError
from pushsvc.client.items import Answer, Prepared, read_answer
from pushsvc.client.results import Receipt
from pushsvc.client.sending import as_publish_error

logger = logging.getLogger("pushsvc.client")

_PIECE_LINES: Final = 1000


class Line:
    """One event of a stream. `refused`: the monotonic time at which the service first could not take it."""

    __slots__ = ("number", "prepared", "refused")

    def __init__(self, number: int, prepared: Prepared) -> None:
        self.number = number
        self.prepared = prepared
        self.refused: float | None = None


class Pending:
    """Lines in order: those that are waiting to be sent, and those that were sent. Writers put, one reader takes."""

    def __init__(self, window: int, tell: Callable[[int, Receipt | PublishError], object]) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Line] = deque()
        self._sent: deque[Line] = deque()
        self._window = window
        self._tell = tell
        self._failure: ServiceError | None = None
        self._asleep = False
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self.closed = False  # no more lines will come

    @property
    def wakeup(self) -> socket.socket:
        """Becomes readable when there is something to send, after `sleeps`."""
        return self._woken

    def put(self, line: Line) -> None:
        """Add a line, when there is room. Raises PublishError if the stream has failed."""
        with self._changed:
            while len(self._waiting) + len(self._sent) >= self._window and self._failure is None:
                self._changed.wait()
            if self._failure is not None or self.closed:
                raise as_publish_error(
                    self._failure or ServiceError("the stream is closed", temporary=False), line.prepared.key
                )
            self._waiting.append(line)
            self._rouse()

    def _rouse(self) -> None:
        if self._asleep:
            self._asleep = False
            self._wake.send(b".")

    def sleeps(self) -> bool:
        """Whether the reader may sleep: it will be woken for what comes."""
        with self._changed:
            self._asleep = not self._waiting and (not self.closed or bool(self._sent))
            return self._asleep

    def awake(self) -> None:
        """The reader is awake."""
        with self._changed:
            self._asleep = False
            try:
                self._woken.recv(4096)
            except BlockingIOError:
                pass

    def take(self) -> bytes:
        """Lines to be sent now."""
        with self._changed:
            lines = [self._waiting.popleft() for _ in range(min(_PIECE_LINES, len(self._waiting)))]
            self._sent += lines
        return b"".join(line.prepared.body + b"\n" for line in lines)

    def answer(self, answers: list[Answer], patience: float) -> ServiceError | None:
        """Give the oldest sent lines their answers. Those that the service cannot take for now wait to be sent again,
        before all others; the error of the last one is returned."""
        again: list[Line] = []
        told: list[tuple[int, Receipt | PublishError]] = []
        last: ServiceError | None = None
        now = time.monotonic()
        for answer in answers:
            if not self._sent:
                raise ServiceError("the service answered more events than were sent", temporary=False)
            line = self._sent.popleft()
            result = read_answer(answer, line.prepared)
            if isinstance(result, PublishError) and (result.temporary or result.status == 401):
                line.refused = line.refused or now
                if now - line.refused < patience:
                    again.append(line)
                    last = result
                    continue
            told.append((line.number, result))
        for number, result in told:
            self._safely_tell(number, result)
        with self._changed:
            if again:
                self._waiting = deque(sorted([*again, *self._waiting], key=lambda line: line.number))
            self._changed.notify_all()
        return last

    def return_sent(self) -> None:
        """The connection is lost: what it left unanswered is to be sent again."""
        with self._changed:
            # A line that was refused stands before those that were sent after it.
            lines = sorted([*self._sent, *self._waiting], key=lambda line: line.number)
            self._sent.clear()
            self._waiting = deque(lines)

    def fail(self, error: ServiceError) -> None:
        """Give up: each line that is left has this error, and so has each that comes."""
        with self._changed:
            lines = [*self._sent, *self._waiting]
            self._sent.clear()
            self._waiting.clear()
            self._failure = error
            self._changed.notify_all()
        for line in lines:
            self._safely_tell(line.number, as_publish_error(error, line.prepared.key))

    def close(self) -> None:
        """No more lines will come."""
        with self._changed:
            self.closed = True
            self._rouse()

    def end(self) -> None:
        """The reader has ended."""
        self._wake.close()
        self._woken.close()

    def wait_empty(self, timeout: float | None) -> bool:
        """Wait until no line is left. Returns False if `timeout` seconds were too short."""
        with self._changed:
            return self._changed.wait_for(lambda: not self, timeout)

    @property
    def unanswered(self) -> bool:
        """Whether lines were sent that have no answer."""
        return bool(self._sent)

    def __bool__(self) -> bool:
        return bool(self._waiting or self._sent)

    def _safely_tell(self, number: int, result: Receipt | PublishError) -> None:
        try:
            self._tell(number, result)
        except Exception:
            logger.exception("the callback of a stream failed")
