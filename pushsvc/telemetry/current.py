"""The request that this greenlet is answering."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

from gevent.local import local

HEADER: Final = "X-Request-Id"
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}")


class Request:
    """The names of a request. `id`: as the client or a proxy named it, or a new one; `traceparent`, `tracestate`: as
    they came, not checked; `trace_id`: that of the last span that was begun for it."""

    __slots__ = ("id", "trace_id", "traceparent", "tracestate")

    def __init__(self, request_id: str, traceparent: str | None = None, tracestate: str | None = None) -> None:
        self.id = request_id
        self.trace_id: str | None = None
        self.traceparent = traceparent
        self.tracestate = tracestate


# One value for each greenlet. What a greenlet starts does not inherit it, as that may go on for other requests.
_HERE: Final = local()


def begin(header: Callable[[str], str | None]) -> Request:
    """Begin a request. `header`: gives the value of a field by its lower-case name, or None."""
    given, parent = header("x-request-id"), header("traceparent")
    request_id = given if given is not None and _WELL_FORMED.fullmatch(given) else new_id()
    request = Request(request_id, parent, None if parent is None else header("tracestate"))
    _HERE.request = request
    return request


def go_on(request: Request | None) -> None:
    """Go on with a request that another greenlet began. None: with none."""
    _HERE.request = request


def current() -> Request | None:
    """The request that this greenlet is answering. None: it answers none."""
    request: Request | None = getattr(_HERE, "request", None)
    return request


def new_id() -> str:
    """Make the id of a request that brings none. Python seeds `random` anew after each fork."""
    return f"{random.getrandbits(128):032x}"
