"""The headers `traceparent` and `tracestate` (W3C Trace Context, level 2)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pushsvc.telemetry.current import Request

LONGEST_STATE: Final = 512  # characters, which the standard asks for at least
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LATER_VERSION: Final = "ff"  # is none
_STATE: Final = re.compile(r"[ -~]+")


class Parent(NamedTuple):
    """The place in a trace that a request comes from. The ids are lower-case hex; `flags`: 0 to 255, bit 0: sampled."""

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    def headers(self) -> dict[str, str]:
        """The headers that name this place to another service."""
        parent = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"}
        return parent | {"tracestate": self.state} if self.state else parent


def parent_of(request: Request | None) -> Parent | None:
    """The place in a trace that the request comes from. None: it names none, or not as the standard has it."""
    match = _PARENT.fullmatch(request.traceparent) if request is not None and request.traceparent else None
    if request is None or match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == _LATER_VERSION or (version == "00" and more is not None) or not int(trace_id, 16) * int(span_id, 16):
        return None
    state = (request.tracestate or "").strip(" \t")
    return Parent(trace_id, span_id, int(flags, 16), state if _is_state(state) else "")


def passed_on(request: Request | None) -> dict[str, str]:
    """The headers for a request that is sent because of this one. They name the place that this one came from: where
    no spans are recorded, a new span id would be one that nobody finds (section 3.4)."""
    parent = parent_of(request)
    return {} if parent is None else parent.headers()


def _is_state(state: str) -> bool:
    return len(state) <= LONGEST_STATE and _STATE.fullmatch(state) is not None
