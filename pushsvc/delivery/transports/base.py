"""The contract of a transport: where the bytes of one connection go."""

from __future__ import annotations

from typing import Protocol

from pushsvc.events.encoded import EncodedBatch


class Listener(Protocol):
    """Takes what the client of a WebSocket says."""

    @property
    def busy(self) -> bool:
        """Whether it takes nothing just now."""

    def hear(self, said: bytes) -> bool:
        """Take bytes. False: the connection is to be cut. Does not block the caller."""


class Transport(Protocol):
    """Takes the bytes of one connection. No method blocks the caller."""

    @property
    def detached(self) -> bool:
        """Whether the Hub writes to the socket, instead of a greenlet that reads the log itself."""

    @property
    def drained(self) -> bool:
        """Whether no byte waits here, so that all sent events count as delivered."""

    def send(self, batch: EncodedBatch) -> bool:
        """Send a batch. False: it does not fit, and nothing was taken."""

    def wake(self) -> None:
        """Wake the greenlet that writes, because the state of its subscriber has changed."""

    def finish(self, farewell: bytes, *, whole: bool) -> bool:
        """Send these bytes after all others, and then no more. `whole`: end the response properly, else cut it. True:
        the bytes have been written already."""

    def abort(self) -> None:
        """End the connection now, and with it a write that hangs."""

    def is_stalled(self, now: float, *, behind: bool, patience: float) -> bool:
        """Whether the client has read nothing for `patience` seconds while bytes wait for it: here, or, if it is
        `behind`, in the log. `now`: monotonic time."""
