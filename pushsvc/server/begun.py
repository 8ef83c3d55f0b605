"""The facts that can be told of a request that the application did not answer, from the bytes that came."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

_LINE: Final = re.compile(rb"([A-Z]+) ([^ ?\r\n]*)([^\r\n]*)")
_STREAMS: Final = re.compile(r"/(events|v1/generations/([^/ ?]+/)?events)\Z")  # also behind PUBLIC_URL's path


class Begun(NamedTuple):
    """A request that has begun. A member that could not be read is empty."""

    method: str = ""
    path: str = ""
    old: bool = False  # the request is HTTP/1.0, which has no chunked coding
    origin: str = ""
    accept: str = ""
    request_id: str = ""

    @property
    def for_openai(self) -> bool:
        """Whether the client is one of OpenAI's API, which expects errors in the shape of that API."""
        return "/v1/" in self.path  # also under PUBLIC_URL's path

    @property
    def for_eventsource(self) -> bool:
        """Whether the client is an EventSource, which gives up for good at any status but 200."""
        return opens_stream(self.method, self.path) and "text/event-stream" in self.accept.lower()


def opens_stream(method: str, path: str) -> bool:
    """Tell whether a request asks for a stream that an EventSource reads. `path`: as it was sent."""
    if "%" in path:
        path = unquote(path)
    return method == "GET" and path.endswith("events") and _STREAMS.search(path) is not None


def stays(method: str, path: str) -> bool:
    """Tell whether a request asks for a connection that stays: a stream, or a WebSocket."""
    return opens_stream(method, path) or (method == "GET" and unquote(path).endswith("/ws"))


def read_begun(raw: bytes) -> Begun:
    """Describe a request. `raw`: its first bytes."""
    found = _LINE.match(raw)
    if found is None:
        return Begun()
    fields = (_field(raw, name) for name in (b"Origin", b"Accept", b"X-Request-Id"))
    return Begun(found[1].decode(), found[2].decode("latin-1"), found[3].endswith(b" HTTP/1.0"), *fields)


def _field(raw: bytes, name: bytes) -> str:
    found = re.search(rb"\n" + name + rb":[ \t]*([^\r\n]*?)[ \t]*\r", raw, re.IGNORECASE)
    return found[1].decode("latin-1") if found else ""
