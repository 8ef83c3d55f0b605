"""Reads server-sent events (WHATWG HTML section 9.2.6) from bytes that arrive in pieces of any size. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

MOST_BYTES: Final = 256 * 2**20  # of one event: what no service of ours sends
_MARK: Final = b"\xef\xbb\xbf"  # a byte order mark, which a stream may begin with


class TooLong(ValueError):
    """An event is longer than allowed."""


class Message(NamedTuple):
    """One event. `id`: the last event id of the stream; `own`: the event itself brought it."""

    id: str
    name: str
    data: str
    own: bool


class Parser:
    """Finds the events of one connection. An event that its end cuts off is dropped.

    `last_event_id` is what a reconnect sends, `retry_ms` the service's reconnection time; None: it said none. Unlike
    the standard and Chromium, but like Firefox and WebKit, an id counts from the event that brings it.
    """

    def __init__(
        self, last_event_id: str = "", *, most: int = MOST_BYTES, on_comment: Callable[[str], object] | None = None
    ) -> None:
        """`most`: the most bytes that an event may have. `on_comment`: is called with each comment, such as a
        heartbeat."""
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._most = most
        self._on_comment = on_comment
        self._rest = bytearray()  # of a line
        self._begun = False
        self._held = 0  # bytes of the event
        self._id: str | None = None
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[Message]:
        """The events that are complete with this piece. Raises TooLong."""
        rest = self._rest
        known = len(rest)
        rest += piece
        if self._held + len(rest) > self._most and b"\n" not in piece and b"\r" not in piece:
            raise TooLong(f"an event is longer than {self._most} bytes")
        if b"\n" not in piece and b"\r" not in rest[max(0, known - 1) :]:
            return []
        lines = bytes(rest).splitlines(keepends=True)  # of bytes: at LF, CR and CR LF alone, as it should be
        rest.clear()
        if not lines[-1].endswith(b"\n"):  # a CR at the very end may be half of a CR LF
            rest += lines.pop()
        if not self._begun and lines:
            self._begun = True
            lines[0] = lines[0].removeprefix(_MARK)
        return [message for line in lines if (message := self._take(line.rstrip(b"\r\n"))) is not None]

    def _take(self, line: bytes) -> Message | None:
        if not line:
            return self._end()
        self._held += len(line)
        if self._held > self._most:
            raise TooLong(f"an event is longer than {self._most} bytes")
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        elif field == b"event":
            self._name = value.decode(errors="replace")
        elif field == b"retry" and value.isdigit():
            self.retry_ms = int(value[:12])
        elif not field:
            self._comment(line, value)
        return None

    def _comment(self, line: bytes, value: bytes) -> None:
        self._held -= len(line)  # heartbeats are of no event
        if self._on_comment is not None:
            self._on_comment(value.decode(errors="replace"))

    def _end(self) -> Message | None:
        data, name, own = self._data, self._name, self._id
        self._data, self._name, self._id, self._held = [], "", None, 0
        if not data:
            return None
        if own is not None:
            self.last_event_id = own
        text = b"\n".join(data).decode(errors="replace")
        return Message(self.last_event_id, name or "message", text, own is not None)
