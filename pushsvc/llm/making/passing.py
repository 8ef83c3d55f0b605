"""Requests that go through to the model's server as they are, such as those for embeddings. Nothing of them is kept."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final

import gevent.event

from pushsvc.errors import ClientLeft, TooManyGenerations
from pushsvc.llm.making import sizes
from pushsvc.llm.making.progress import Limits
from pushsvc.llm.models.base import Call, Fault, Model, Passed

_EVENT_STREAM: Final = "text/event-stream"


class Passage:
    """One request on its way, and its response, which one greenlet reads. `close` must be called in the end."""

    def __init__(self, limits: Limits, on_close: Callable[[], None]) -> None:
        self.status = 0  # until the response begins
        self.headers: dict[str, str] = {}
        self._limits = limits
        self._on_close: Callable[[], None] | None = on_close
        self._deadline = time.monotonic() + limits.total
        self._call: Call | None = None
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._over = False  # nothing more comes
        self._fault: Fault | None = None
        self._news = gevent.event.Event()

    def begin(self, call: Call) -> None:
        """Take the call that brings the response."""
        self._call = call

    # Methods of ResponseHandler

    def began(self, status: int, headers: dict[str, str]) -> None:
        """Take the head."""
        self.status, self.headers = status, headers
        self._news.set()

    def heard(self, piece: bytes) -> None:
        """Take a piece of the body. If the client reads too slowly, no more is read."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        self._news.set()
        if self._bytes > sizes.MOST_UNWRITTEN and self._call is not None:
            self._call.pause()

    def complete(self) -> None:
        """Take note of the end."""
        self._end(None)

    def failed(self, fault: Fault) -> None:
        """Take note that the rest does not come."""
        self._end(fault)

    def _end(self, fault: Fault | None) -> None:
        if not self._over:
            self._over, self._fault = True, fault
        self._news.set()

    # For the greenlet that reads

    def wait_for_head(self) -> None:
        """Wait until the response begins. Raises Fault, or ClientLeft once `close` was called."""
        while not self.status:
            self._raise_end()
            self._wait(self._deadline)

    def pieces(self) -> Iterator[bytes]:
        """Give the body as it comes. Raises as `wait_for_head` does."""
        silence = max(self._limits.first_token, self._limits.between_tokens)
        streams = self.headers.get("content-type", "").lower().startswith(_EVENT_STREAM)
        while True:
            while self._pieces:
                yield self._take()
            if self._over:
                self._raise_end()
                return
            self._wait(min(self._deadline, time.monotonic() + silence) if streams else self._deadline)

    def body(self, most: int) -> bytes:
        """Give the body in one piece, cut off after `most` bytes or so. Raises as `wait_for_head` does."""
        found = b""
        for piece in self.pieces():
            found += piece
            if len(found) > most:
                break
        return found

    def _take(self) -> bytes:
        piece = self._pieces.popleft()
        full, self._bytes = self._bytes > sizes.MOST_UNWRITTEN, self._bytes - len(piece)
        if full and self._bytes <= sizes.MOST_UNWRITTEN and self._call is not None:
            self._call.resume()
        return piece

    def _wait(self, until: float) -> None:
        """Wait for anything new, up to a monotonic time. Raises Fault after it."""
        self._news.clear()
        if not self._news.wait(max(0.0, until - time.monotonic())):
            raise Fault("total_timeout", "The model's server did not answer in time.")

    def _raise_end(self) -> None:
        if self._on_close is None:
            raise ClientLeft("The client has left.")
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        """Hang up on the model's server, if it has not said all. Harmless when repeated."""
        call, self._call = self._call, None
        if call is not None:
            call.close()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        self._end(None)


class Passing:
    """Sends requests through, as many at a time as answers may be made in this worker."""

    def __init__(self, model: Model, limits: Limits, most_per_user: int, full: Callable[[], bool]) -> None:
        """`most_per_user`: requests of one user at a time; `full`: whether no more may begin in this worker."""
        self._model = model
        self._limits = limits
        self._most_per_user = most_per_user
        self._full = full
        self._running: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._running.total()

    def send(self, request: Passed, user: str) -> Passage:
        """Send a request through. Raises TooManyGenerations."""
        if self._full():
            raise TooManyGenerations("This worker makes as many answers as it may; try again later.", retry_after=2)
        if self._running[user] >= self._most_per_user:
            raise TooManyGenerations("This user has as many answers made as one may; try again later.", retry_after=2)
        self._running[user] += 1
        passage = Passage(self._limits, lambda: self._ended(user))
        try:
            passage.begin(self._model.pass_on(request, passage))
        except BaseException:
            passage.close()
            raise
        return passage

    def _ended(self, user: str) -> None:
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]
