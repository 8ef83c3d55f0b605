"""The input of a browser: an HTTP/1.1 answer that does not end, and the events in it. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import orjson

from pushsvc.client.sse import Parser


class Message(NamedTuple):
    id: str
    event: str
    data: str


def reason(body: bytes) -> str:
    """The reason for the refusal, in the words of the problem document (RFC 9457)."""
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


class Stream(Parser):
    """The event stream of one connection."""

    def messages(self, body: bytes) -> Iterator[Message]:
        """The events that are whole by now."""
        for each in self.feed(body):
            yield Message(each.id, each.name, each.data)
