"""A request, whatever server and framework read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import werkzeug.urls  # noqa: F401  # it registers the handling of bytes that are not UTF-8
from werkzeug.datastructures import MultiDict
from werkzeug.sansio.http import parse_cookie

from pushsvc.delivery.transports.handover import CLOSES, HELD, PATIENT, UNREAD
from pushsvc.errors import Invalid, PushError, RequestTimeout, TooLarge
from pushsvc.service import Service

MOST_COOKIES: Final = 100  # of ours in one request


@dataclass(slots=True)
class Call:
    """A request to a service.

    `path`: decoded, without the path of PUBLIC_URL; `query`: as it was sent; `protocol`: such as "HTTP/1.1"; `header`:
    gives the value of a field by its lower-case name, or None; `body`: a file, as WSGI's `wsgi.input`;
    `content_length`: None if the body is chunked, or the server marks its end otherwise; `client`: the client's socket,
    if the server gives it; `closes`, `held`, `unread`, `patient`: see delivery/transports/handover.py.
    """

    service: Service
    method: str
    path: str
    query: str
    protocol: str
    header: Callable[[str], str | None]
    body: Any
    content_length: int | None
    scheme: str = "http"
    client: Any = None
    closes: Callable[[], None] | None = None
    held: dict[Callable[[], None], None] = field(default_factory=dict)
    unread: Callable[[bytes], None] | None = None
    patient: Callable[[], None] | None = None
    _args: MultiDict[str, str] | None = field(default=None, init=False)
    _cookies: Mapping[str, str] | None = field(default=None, init=False)

    @classmethod
    def of_environ(cls, service: Service, environ: dict[str, Any]) -> Call:
        """The request of a WSGI environment (PEP 3333)."""
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower() == "chunked"
        ended = environ.get("wsgi.input_terminated", False)
        length = environ.get("CONTENT_LENGTH", "")
        content_length = int(length) if length.isdecimal() and not chunked else None if ended else 0

        def header(name: str) -> str | None:
            key = name.upper().replace("-", "_")
            value: str | None = environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
            return value

        return cls(
            service,
            environ["REQUEST_METHOD"],
            environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace"),
            environ.get("QUERY_STRING", ""),
            environ.get("SERVER_PROTOCOL", ""),
            header,
            environ.get("wsgi.input"),
            content_length,
            scheme=environ.get("wsgi.url_scheme", "http"),
            client=environ.get("gunicorn.socket"),
            closes=environ.get(CLOSES),
            held=environ.get(HELD, {}),
            unread=environ.get(UNREAD),
            patient=environ.get(PATIENT),
        )

    @property
    def args(self) -> MultiDict[str, str]:
        """The parameters of the query. Call `arguments.check_query` before: what is not UTF-8 is replaced here."""
        if self._args is None:
            query = self.query.encode("latin-1").decode(errors="replace")
            self._args = MultiDict(parse_qsl(query, keep_blank_values=True, errors="werkzeug.url_quote"))
        return self._args

    @property
    def cookies(self) -> Mapping[str, str]:
        """The service's own cookies by name; of several with one name, the first. Parsing all that one host has set, or
        a stranger sends, could take a tenth of a second."""
        if self._cookies is None:
            ours = [each for each in (self.header("cookie") or "").split(";") if "pushsvc_" in each]
            self._cookies = parse_cookie(";".join(ours[:MOST_COOKIES]))
        return self._cookies

    @property
    def media_type(self) -> str:
        """The media type of the body, in lower case, without parameters."""
        value = self.header("content-type") or ""
        return value if value == "application/json" else value.partition(";")[0].strip().lower()

    def read(self, most: int, begun: bytes = b"") -> bytes:
        """Read the whole body, of which `begun` was read before. Raises TooLarge if it is longer than `most` bytes, or
        OSError if it is cut off; a server raises other errors where chunks are malformed."""
        length = self.content_length
        if length is not None and length > most:
            raise too_large(most)
        left = (most + 1 if length is None else length) - len(begun)
        body: bytes = begun + self.body.read(left) if left > 0 else begun
        if length is not None and len(body) < length:
            raise Invalid(CUT_OFF)
        if len(body) > most:
            raise too_large(most)
        return body


def too_large(most: int) -> TooLarge:
    """The error for a body of more than `most` bytes."""
    return TooLarge(f"The body is larger than {most} bytes, the most that this path takes.")


CUT_OFF: Final = "The body is cut off, or not the chunks it says it is."


def cut_off(error: Exception) -> PushError:
    """The problem that tells of a body whose reading failed so."""
    return RequestTimeout("The body comes too slowly.") if isinstance(error, TimeoutError) else Invalid(CUT_OFF)
