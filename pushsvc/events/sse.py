"""The bytes of events, in the syntax of WHATWG HTML section 9.2 (Server-sent events).

A *frame* is an event without its id line. It is made once, at publish, and stored in the stream in Redis; the id line
is added in front when the id is known. So every subscriber gets the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import orjson

from pushsvc.events.event import GAP, EventId

# The parser of a browser ends a line at CR LF, LF or CR; a lone CR left in the data would start a field.
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_BYTES_LINE_END: Final = re.compile(_LINE_END.pattern.encode())

# A comment without a blank line: after an id, some clients (httpx-sse, OpenAI's) take each blank line for an event.
HEARTBEAT: Final = b":\n"
HEARTBEAT_EVENT: Final = b"event: heartbeat\ndata:\n\n"  # for pages, as EventSource hides comments
ERROR: Final = b'data: {"error":'  # starts the event that explains why an answer ended early
DONE: Final = b"data: [DONE]\n\n"  # the last event of an answer, as in OpenAI's API


def frame(name: str, data: str) -> bytes:
    """An event without its id. Line ends in `data` become LF, as a browser would deliver them.

    `name` must hold no line break; `publication.parse_publication` checks that.
    """
    if _LINE_END.search(name):
        raise ValueError("an event name must not contain a line break")
    head = "" if name == "message" else f"event: {name}\n"
    if "\n" not in data and "\r" not in data:
        return f"{head}data: {data}\n\n".encode()
    lines = _LINE_END.split(data)
    return (head + "".join(f"data: {line}\n" for line in lines) + "\n").encode()


def read_event(raw: bytes) -> tuple[str, str]:
    """The (name, data) of an event that `frame` wrote, with or without an id."""
    name, lines = "message", []
    for line in raw.decode().split("\n"):
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            lines.append(value)
    return name, "\n".join(lines)


def with_id(event_id: bytes, event_frame: bytes) -> bytes:
    """A whole event, ready to be sent."""
    return b"id: " + event_id + b"\n" + event_frame


def cursor(event_id: EventId, retry_ms: int | None = None) -> bytes:
    """An event that sets the browser's cursor. A page that does not listen for `cursor` does not notice it.

    The empty data line makes all browsers store the id: without data only Chromium does. `retry_ms`
    sets the reconnection time in the same block.
    """
    return retry(retry_ms) + b"event: cursor\nid: %s\ndata:\n\n" % str(event_id).encode()


def refused(problem: Mapping[str, object], retry_ms: int | None = None) -> bytes:
    """An event for a client that is refused or disconnected: the problem document (RFC 9457). `retry_ms`: when to
    reconnect. It has no id, so the browser keeps its cursor."""
    return retry(retry_ms) + b"event: refused\ndata: %s\n\n" % orjson.dumps(problem)


def retry(retry_ms: int | None) -> bytes:
    """The line that sets the reconnection time. An event must follow in the same block: some clients take a block
    without an event for a message."""
    return b"" if retry_ms is None else b"retry: %d\n" % retry_ms


def gap(requested: EventId | None, oldest: EventId | None, reason: str, event_id: EventId | None) -> bytes:
    """An event that reports lost events between `requested` (None: the client's cursor is unknown) and `oldest` (None:
    no event is kept).

    `event_id` moves the browser's cursor past the loss, so the gap is reported once; None keeps the cursor.
    """
    data = orjson.dumps(
        {
            "requested": None if requested is None else str(requested),
            "oldest": None if oldest is None else str(oldest),
            "reason": reason,
        }
    )
    event = frame(GAP, data.decode())
    return event if event_id is None else with_id(str(event_id).encode(), event)


def is_broken_off(wire: bytes) -> bool:
    """Whether the last events of an answer report that it was not completed."""
    last = wire.rfind(b"\n\n", 0, -len(DONE))
    before = wire.rfind(b"\n\n", 0, max(0, last))
    return wire.endswith(DONE) and last >= 0 and ERROR in wire[max(0, before) : last]


def data_frame(data: bytes) -> bytes:
    """Make a frame as `frame` does, of an event without a name whose data is bytes."""
    if b"\n" in data or b"\r" in data:
        data = _BYTES_LINE_END.sub(b"\ndata: ", data)
    return b"data: %b\n\n" % data
