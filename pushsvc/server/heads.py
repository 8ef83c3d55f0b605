"""Reads the heads of requests: as long as browsers make them, and no longer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from gunicorn.http.message import Request

# As nginx has them (nginx/locations.conf). 100 topics of 100 characters are a line of 120 KB once they are encoded.
LONGEST_LINE: Final = 128 * 1024  # bytes, of the request line, and of a header field
LONGEST_HEAD: Final = 4 * LONGEST_LINE
MOST_FIELDS: Final = 256
_LINE: Final = re.compile(rb"(?:\r\n)?([A-Z]+) ([^ ?\r\n]*)([^\r\n]*)")
_PATHS: Final = r"/(events|v1/generations/([^/ ?]+/)?events)"  # of streams, also behind PUBLIC_URL's path
_STREAMS: Final = re.compile(_PATHS)
_OPENS: Final = re.compile(rb"GET (/[^ ?]*)?" + _PATHS.encode() + rb"[ ?]")


class Head(NamedTuple):
    """A request that the application did not answer; empty members: they were not understood."""

    method: str = ""
    path: str = ""
    origin: str = ""
    accept: str = ""
    old: bool = False  # of HTTP/1.0, which knows no chunks

    @property
    def for_openai(self) -> bool:
        """Whether a client of OpenAI's API asks, which reads errors in that shape."""
        return "/v1/" in self.path  # also under PUBLIC_URL's path

    @property
    def for_eventsource(self) -> bool:
        """Whether an EventSource asks, which gives up for good at any status but 200."""
        listens = self.method == "GET" and "text/event-stream" in self.accept.lower()
        return listens and _STREAMS.search(self.path) is not None


def opens_stream(first: bytes) -> bool:
    """Tell whether a request that begins with these bytes asks for a stream."""
    return _OPENS.match(first) is not None


class BoundedRequest(Request):
    """Gunicorn's parser with bounds of our own. Its bounds are a line of 8 KB, which cannot be raised, and any number
    of such header fields, for which it copies what it has with each 8 KB that come. Ours hold without
    `gunicorn_conf.py`, too."""

    def parse(self, unreader: Any) -> Any:
        """Read a head within the bounds; gunicorn's hook."""
        self.limit_request_line = self._fast_limit_request_line = LONGEST_LINE
        self.limit_request_fields, self.limit_request_field_size = MOST_FIELDS, LONGEST_LINE
        self.max_buffer_headers = LONGEST_HEAD
        self._read = bytearray()
        with self._remembered():
            return super().parse(unreader)

    def set_body_reader(self) -> None:
        """Find out how the body is framed; gunicorn's hook."""
        with self._remembered():
            super().set_body_reader()

    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]:
        """Trust nobody's word on address, scheme and path, for which gunicorn asks. See forwarding.py."""
        return {}, []

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        """Note the request with its error: nothing else of it is given to the code that answers."""
        try:
            yield
        except BaseException as error:
            error.pushsvc_head = self._head()  # type: ignore[attr-defined]
            raise

    def read_into(self, unreader: Any, buf: bytearray, stop: bool = False) -> None:
        """Read more of the head; gunicorn's hook."""
        super().read_into(unreader, buf, stop)
        self._read = buf

    def parse_request_line(self, line_bytes: bytes) -> None:
        """Accept names in UTF-8, which clients that are no browsers send as they are; nginx passes that on."""
        super().parse_request_line(re.sub(rb"[\x80-\xff]", lambda match: b"%%%02X" % match[0][0], line_bytes))

    def _head(self) -> Head:
        """Find the method and target in what was read: the line has been cut off, if more was read after it."""
        found = _LINE.match(self._read)
        method, path = (found[1].decode(), found[2].decode("latin-1")) if found else ("", "")
        old = self.version == (1, 0) if self.version else bool(found and found[3].endswith(b" HTTP/1.0"))
        return Head(self.method or method, self.path or path, self._field(b"Origin"), self._field(b"Accept"), old)

    def _field(self, name: bytes) -> str:
        found = re.search(rb"(?:^|\n)" + name + rb":[ \t]*([^\r\n]*?)[ \t]*\r", self._read, re.IGNORECASE)
        return found[1].decode("latin-1") if found else ""


def head_of(request: Any, error: BaseException) -> Head:
    """Describe gunicorn's request; None where its head could not be read."""
    if request is None:
        found: Head = getattr(error, "pushsvc_head", Head())
        return found
    fields = dict(request.headers)
    old = request.version == (1, 0)
    return Head(request.method, request.path, fields.get("ORIGIN", ""), fields.get("ACCEPT", ""), old)
