"""The contract of a transport: where the bytes of one connection go."""

from __future__ import annotations

from typing import Protocol

from pushsvc.events.encoded import EncodedBatch


class Transport(Protocol):
    """Takes the bytes of one connection. No method blocks the caller."""

    @property
    def detached(self) -> bool:
        """Whether the Hub writes to the socket; else a greenlet does, which reads the log itself."""

    @property
    def drained(self) -> bool:
        """Whether no byte waits here, so that all that was sent counts as delivered."""

    def send(self, batch: EncodedBatch) -> bool:
        """Send a batch. False: there is no room for it, and nothing was taken."""

    def wake(self) -> None:
        """Have the greenlet that writes look at its subscriber, whose state changed."""

    def finish(self, farewell: bytes, *, whole: bool) -> bool:
        """Send these bytes after all others, and no more. `whole`: the response is complete, else it is cut. True: the
        bytes are out already."""

    def abort(self) -> None:
        """End the connection now, and with it a write that hangs."""

    def is_stalled(self, now: float, *, behind: bool, patience: float) -> bool:
        """Whether the client has taken nothing for `patience` seconds while more waits for it: here, or in the log if
        it is `behind`. `now`: monotonic time."""
