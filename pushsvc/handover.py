"""How a response goes on without its greenlet: a word between the stream that is sent and the worker that serves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

CLOSES: Final = "pushsvc.closes"  # in a request's environment: call it, and the head says that the connection ends too


class HandOver(BaseException):
    """Raised by a response's iterator where the Hub shall go on with the client's socket.

    The worker takes the descriptor out of the server's hands and calls `adopt` with it, and with whether the client
    has sent anything after its request. Not an Exception, so that nothing between takes it for an error.
    """

    def __init__(self, adopt: Callable[[int, bool], None]) -> None:
        super().__init__()
        self.adopt = adopt
