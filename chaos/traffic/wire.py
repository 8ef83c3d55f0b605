"""What a browser reads: an HTTP/1.1 answer that does not end, and the events in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import orjson


class Message(NamedTuple):
    id: str
    event: str
    data: str


def reason(body: bytes) -> str:
    """Why it was refused, in the words of the problem document (RFC 9457)."""
    try:
        return str(orjson.loads(body)["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return repr(body[:80])


class Answer:
    """The head, then the body as it comes (RFC 9112); `status` is None until the head is whole."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """The part of the body that is whole by now."""
        self._buffer += data
        if self.status is None:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return b""
            status, *fields = head.decode("latin-1").split("\r\n")
            self.status = int(status.split(" ")[1])
            self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
            self._buffer = rest
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        body, self._buffer = self._buffer, b""
        return body

    def _chunks(self) -> Iterator[bytes]:
        at = 0
        while (end := self._buffer.find(b"\r\n", at)) >= 0:
            size = int(self._buffer[at:end].partition(b";")[0], 16)
            start, stop = end + 2, end + 2 + size
            if len(self._buffer) < stop + 2:
                break
            yield self._buffer[start:stop]
            at = stop + 2
        self._buffer = self._buffer[at:]


class Stream:
    """The event stream of one connection (WHATWG HTML, section 9.2.6). An event that its end cuts off is dropped."""

    def __init__(self, last_event_id: str) -> None:
        self.last_event_id = last_event_id
        self.retry_ms: int | None = None
        self._id = last_event_id
        self._event = ""
        self._data: list[str] = []
        self._rest = b""

    def feed(self, body: bytes) -> Iterator[Message]:
        lines = (self._rest + body).splitlines(keepends=True)  # of bytes: at LF, CR and CR LF alone, as it should be
        # A CR at the very end may be half of a CR LF.
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        for line in lines:
            yield from self._line(line.rstrip(b"\r\n").decode(errors="replace"))

    def _line(self, line: str) -> Iterator[Message]:
        if not line:
            data, event = self._data, self._event or "message"
            self._data, self._event = [], ""
            if data:  # else Firefox and WebKit, unlike the standard and Chromium, take no note of an id
                self.last_event_id = self._id
                yield Message(self._id, event, "\n".join(data))
            self._id = self.last_event_id
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
