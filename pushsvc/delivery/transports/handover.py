"""How a response goes on without its greenlet: the contract between a stream and the worker that serves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

# In a request's environment, where our worker serves:
CLOSES: Final = "pushsvc.closes"  # call it, and the head says that the connection ends too
HELD: Final = "pushsvc.held"  # what holds something for the connection: called when that ends, whatever came before
UNREAD: Final = "pushsvc.unread"  # call it with bytes that came after the request: the next one begins with them


class HandOver(BaseException):
    """Raised by a response's iterator where the Hub shall go on with the client's socket.

    The worker calls `adopt` with that socket, whose descriptor is then out of the server's hands. Not an Exception, so
    that nothing between takes it for an error.
    """

    def __init__(self, adopt: Callable[[Any], None]) -> None:
        super().__init__()
        self.adopt = adopt
