"""Turns in long work for a client."""

from __future__ import annotations

import ssl

from pushsvc.calls.call import Call
from pushsvc.concurrency.shares import SharedSlice
from pushsvc.delivery.transports.hangup import has_ended
from pushsvc.errors import ClientLeft


class ClientTurn:
    """The time for which work for one client may run before others have their turns; see SharedSlice."""

    def __init__(self, call: Call) -> None:
        self._turn = SharedSlice()
        self._plain = None if isinstance(call.client, ssl.SSLSocket) else call.client  # TLS cannot be looked into

    def begin(self) -> None:
        """Wait for the turn before work that is long from its first step on. Raises ClientLeft as `yield_if_over`."""
        self._turn.begin()
        self._check()

    def yield_if_over(self) -> None:
        """Yield if the time is over. Raises ClientLeft if the client has left meanwhile."""
        if self._turn.yield_if_over():
            self._check()

    def _check(self) -> None:
        if self._plain is not None and has_ended(self._plain):
            raise ClientLeft("The client has left.")
