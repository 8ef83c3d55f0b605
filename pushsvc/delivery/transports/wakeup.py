"""The transport of a request that reads the log itself: a long poll, or a request for a complete answer."""

from __future__ import annotations

import gevent.event

from pushsvc.events.encoded import EncodedBatch


class Wakeup:
    """Carries no bytes: it only wakes the greenlet that waits for `rung`."""

    detached = False
    drained = False  # events of a long poll move no position

    def __init__(self, *, events: bool = True) -> None:
        """`events`: whether each event wakes, and not the end alone."""
        self.rung = gevent.event.Event()
        self._events = events

    def send(self, batch: EncodedBatch) -> bool:
        """Wake the greenlet if the batch holds an event."""
        if self._events and batch.last is not None:
            self.rung.set()
        return True

    def wake(self) -> None:
        """Wake the greenlet."""
        self.rung.set()

    def finish(self, farewell: bytes, *, whole: bool) -> bool:  # noqa: ARG002
        """Wake: the subscriber's reason says why."""
        self.rung.set()
        return False

    def abort(self) -> None:
        """Wake: the subscriber's reason says why."""
        self.rung.set()

    def is_stalled(self, now: float, *, behind: bool, patience: float) -> bool:  # noqa: ARG002
        """No: nothing is written."""
        return False
