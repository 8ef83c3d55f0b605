"""Publishing for callers that must not wait: a bounded queue, and a thread that empties it."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from pushsvc.client.errors import PublishError, QueueFull
from pushsvc.client.items import BATCH_EVENTS, Prepared
from pushsvc.client.results import Receipt

logger = logging.getLogger("pushsvc.client")

EXIT_SECONDS: Final = 10.0  # for which the end of the process waits for what is queued

Send = Callable[[Sequence[Prepared]], list[Receipt | PublishError]]
OnResult = Callable[[Prepared, Receipt | PublishError], object]


class Background:
    """Sends what is queued, in order. What a forked process inherits stays the parent's: the child's queue is empty."""

    def __init__(self, send: Send, most: int, on_result: OnResult) -> None:
        """`most`: events that may wait. `on_result` is called in the thread, once for each event."""
        self._send = send
        self._most = most
        self._on_result = on_result
        self._begin()
        atexit.register(_flush_at_exit, weakref.ref(self))

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[Prepared] = deque()
        self._sending = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def put(self, prepared: Prepared, *, wait: bool = False) -> None:
        """Queue an event. Raises QueueFull; or waits for room."""
        self._own()
        with self._changed:
            if self._closed:
                raise PublishError("the publisher is closed", temporary=False).of(prepared.key)
            while len(self._queue) >= self._most:
                if not wait:
                    raise QueueFull(self._most).of(prepared.key)
                self._changed.wait()
            self._queue.append(prepared)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pushsvc-publisher", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until each event that is queued has its result. Returns False if `timeout` seconds were too short."""
        self._own()
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._sending, timeout)

    def close(self, timeout: float | None = EXIT_SECONDS) -> bool:
        """Flush, and end the thread. Returns as `flush` does; what is left then is told as errors."""
        done = self.flush(timeout)
        with self._changed:
            self._closed = True
            left = list(self._queue)
            self._queue.clear()
            self._changed.notify_all()
        for each in left:
            self._tell(each, PublishError("the publisher was closed before it was sent").of(each.key))
        return done

    def _own(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                batch = [self._queue.popleft() for _ in range(min(BATCH_EVENTS, len(self._queue)))]
                self._sending = len(batch)
                self._changed.notify_all()
            self._publish(batch)
            with self._changed:
                self._sending = 0
                self._changed.notify_all()

    def _publish(self, batch: Sequence[Prepared]) -> None:
        try:
            results = self._send(batch)
        except Exception as error:  # noqa: BLE001  # the thread must go on, and each event have its result
            results = [PublishError(f"not sent: {error}").of(each.key) for each in batch]
        for each, result in zip(batch, results, strict=True):
            self._tell(each, result)

    def _tell(self, prepared: Prepared, result: Receipt | PublishError) -> None:
        try:
            self._on_result(prepared, result)
        except Exception:
            logger.exception("the callback of a publisher failed")


def _flush_at_exit(background: weakref.ref[Background]) -> None:
    found = background()
    if found is not None and found._pid == os.getpid():  # noqa: SLF001
        began = time.monotonic()
        if not found.close():
            logger.error("events were still queued %.0f s after the end of the process", time.monotonic() - began)
