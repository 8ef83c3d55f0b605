"""Reads the heads of requests, within bounds that are wide enough for browsers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from gunicorn.http.message import Request

# The same bounds as nginx's (nginx/locations.conf). 100 topics of 100 characters are a line of 120 KB when encoded.
LONGEST_LINE: Final = 128 * 1024  # bytes, of the request line, and of a header field
LONGEST_HEAD: Final = 4 * LONGEST_LINE
MOST_FIELDS: Final = 256
_LINE: Final = re.compile(rb"(?:\r\n)?([A-Z]+) ([^ ?\r\n]*)([^\r\n]*)")
_PATHS: Final = r"/(events|v1/generations/([^/ ?]+/)?events)"  # of streams, also behind PUBLIC_URL's path
_STREAMS: Final = re.compile(_PATHS)
_OPENS: Final = re.compile(rb"GET (/[^ ?]*)?" + _PATHS.encode() + rb"[ ?]")


class Head(NamedTuple):
    """The head of a request that the application did not answer. A member that could not be read is empty."""

    method: str = ""
    path: str = ""
    origin: str = ""
    accept: str = ""
    old: bool = False  # the request is HTTP/1.0, which has no chunked coding

    @property
    def for_openai(self) -> bool:
        """Whether the client is one of OpenAI's API, which expects errors in the shape of that API."""
        return "/v1/" in self.path  # also under PUBLIC_URL's path

    @property
    def for_eventsource(self) -> bool:
        """Whether the client is an EventSource, which gives up for good at any status but 200."""
        listens = self.method == "GET" and "text/event-stream" in self.accept.lower()
        return listens and _STREAMS.search(self.path) is not None


def opens_stream(first: bytes) -> bool:
    """Tell whether a request that begins with these bytes asks for a stream."""
    return _OPENS.match(first) is not None


class BoundedRequest(Request):
    """Gunicorn's parser with other bounds. Gunicorn's are a line of at most 8 KB, which no setting raises, and hardly
    any limit on all header fields together, which it copies again with each 8 KB that arrive. The bounds here hold
    without `gunicorn_conf.py`, too."""

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
        """Make gunicorn trust no headers about address, scheme and path; forwarding.py handles them."""
        return {}, []

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        """Attach the request's head to an error: the code that answers the error gets nothing else of the request."""
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
        """Accept a target in plain UTF-8, which some clients send without percent-encoding, and nginx passes on."""
        super().parse_request_line(re.sub(rb"[\x80-\xff]", lambda match: b"%%%02X" % match[0][0], line_bytes))

    def _head(self) -> Head:
        """Describe the request. Method and target are searched in the bytes read so far if gunicorn has not parsed
        them."""
        found = _LINE.match(self._read)
        method, path = (found[1].decode(), found[2].decode("latin-1")) if found else ("", "")
        old = self.version == (1, 0) if self.version else bool(found and found[3].endswith(b" HTTP/1.0"))
        return Head(self.method or method, self.path or path, self._field(b"Origin"), self._field(b"Accept"), old)

    def _field(self, name: bytes) -> str:
        found = re.search(rb"(?:^|\n)" + name + rb":[ \t]*([^\r\n]*?)[ \t]*\r", self._read, re.IGNORECASE)
        return found[1].decode("latin-1") if found else ""


def head_of(request: Any, error: BaseException) -> Head:
    """Describe a request of gunicorn's. `request`: None if its head could not be read; then `error` may carry what was
    read of it."""
    if request is None:
        found: Head = getattr(error, "pushsvc_head", Head())
        return found
    fields = dict(request.headers)
    old = request.version == (1, 0)
    return Head(request.method, request.path, fields.get("ORIGIN", ""), fields.get("ACCEPT", ""), old)
