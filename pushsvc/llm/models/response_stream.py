"""Parses one response of a model's server with httptools, which is written in C."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import httptools

from pushsvc.llm.models.base import Fault, ResponseHandler, matters

logger = logging.getLogger(__name__)

MOST_HEAD_BYTES: Final = 65536
_NONE: Final[dict[str, str]] = {}  # shared by all calls whose head is complete, to save memory


class ResponseStream:
    """Parses a response, and gives its body to a handler. httptools calls the methods whose names begin with `on_`.

    `whole`: the response has ended properly. `keeps`: the connection can then be used again.
    """

    __slots__ = (
        "_closed",
        "_ends_itself",
        "_handler",
        "_head_bytes",
        "_headers",
        "_on_head",
        "_parser",
        "keeps",
        "whole",
    )

    def __init__(self, handler: ResponseHandler, on_head: Callable[[int, dict[str, str]], None]) -> None:
        """`on_head` gets the status, and the headers for which `matters` is true."""
        self._handler: ResponseHandler | None = handler
        self._on_head = on_head
        self._parser: Any = None  # until something comes: it takes 850 bytes
        self._closed = False
        self._headers = _NONE
        self._head_bytes: int | None = 0  # number of bytes of the head so far; None: it is complete
        self._ends_itself = False  # else the response ends when the connection does (RFC 9112 section 6.3)
        self.whole = self.keeps = False

    @property
    def is_cut_by_hang_up(self) -> bool:
        """Whether the response would be incomplete if the server closed the connection now."""
        return self._head_bytes is not None or self._ends_itself

    def mute(self) -> None:
        """Give nothing more to the handler."""
        self._handler = None

    def close(self) -> None:
        """Parse nothing more, and break the reference cycles through the parser and through `on_head`."""
        self._handler = self._parser = None
        self._closed = True
        self._on_head = _ignore

    def feed(self, data: bytes) -> None:
        """Parse a piece. Raises Fault if the server violates HTTP."""
        if self._parser is None and not self._closed:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error, httptools.HttpParserCallbackError):
                logger.exception("an answer could not be heard because of an error of the service")
            if not self.whole:
                raise Fault(
                    "upstream_malformed", f"The model's server does not speak HTTP as it should: {error}."
                ) from error
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                raise Fault("upstream_malformed", "The head of the model's answer does not end.")

    def on_message_begin(self) -> None:
        """Begin a response, which may be an interim one (1xx)."""
        self._headers = {}
        self._ends_itself = self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header for which `matters` is true."""
        if self._headers is _NONE:
            return  # a trailer
        known = name.decode("latin-1").lower()
        if matters(known):
            text = value.decode("latin-1").strip()
            self._headers[known] = f"{self._headers[known]}, {text}" if known in self._headers else text
        elif known in ("content-length", "transfer-encoding"):
            self._ends_itself = True

    def on_headers_complete(self) -> None:
        """Report the head, unless it is an interim response (RFC 9110 section 15.2)."""
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, _NONE
        if status >= 200:
            self._head_bytes = None
            self._on_head(status, headers)

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        if self._handler is not None:
            self._handler.heard(body)

    def on_message_complete(self) -> None:
        """Note the end of the response."""
        if self._parser is not None and self._parser.get_status_code() >= 200:
            self.whole, self.keeps = True, self._parser.should_keep_alive()  # the parser forgets that after this call


def _ignore(status: int, headers: dict[str, str]) -> None:
    """Do nothing: the call is closed."""
