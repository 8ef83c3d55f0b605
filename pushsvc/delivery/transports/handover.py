"""The contract between a stream and the worker that serves it, by which a response goes on without its greenlet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

# Keys in the WSGI environment of a request that PushWorker serves:
CLOSES: Final = "pushsvc.closes"  # a function: makes the server close the connection after the response, and say so
HELD: Final = "pushsvc.held"  # a dict whose keys are functions, all called when the connection ends for any reason
UNREAD: Final = "pushsvc.unread"  # a function: takes bytes that came after the request, and belong to the next one

PATIENT: Final = "pushsvc.patient"  # a function: makes the server wait for the body for as long as it takes


class HandOver(BaseException):
    """Raised by a response's iterator when the Hub is to go on with the client's socket.

    The worker calls `adopt` with the socket; after that the Hub owns its descriptor. HandOver is a BaseException, so
    that no code in between handles it as an error.
    """

    def __init__(self, adopt: Callable[[Any], None]) -> None:
        super().__init__()
        self.adopt = adopt
