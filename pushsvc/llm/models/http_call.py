"""One request to a model's server, from the head of its response on: the socket, and a parser in C."""

from __future__ import annotations

import logging
import os
import ssl
from typing import Any, Final, NamedTuple, Protocol

import gevent
import httptools

from pushsvc.llm.models.base import Fault, ResponseHandler, matters

logger = logging.getLogger(__name__)

READ_BYTES: Final = 65536
MOST_HEAD_BYTES: Final = 65536  # of a response
TRAILING_SECONDS: Final = 1.0  # how long the end of a response may take after its last event


class Request(NamedTuple):
    """What is sent. `target`: the path, and the query."""

    method: str
    target: str
    body: bytes | None = None


_NONE: Final[dict[str, str]] = {}  # thousands of calls wait behind their heads


class Watch(Protocol):
    """Who says when there is something to read, and keeps connections for the next request."""

    def watch(self, call: HttpCall) -> None: ...

    def watches(self, fd: int) -> bool: ...

    def unwatch(self, fd: int) -> None: ...

    def keep(self, line: Any) -> None:
        """A connection on which the response is complete."""

    def ask_again(self, call: HttpCall, request: Request) -> None:
        """On another connection."""

    def answered(self, status: int, headers: dict[str, str]) -> None:
        """The head of a response came."""


class HttpCall:
    """One request, and the parser of its response: httptools calls the methods whose names begin with `on_`."""

    __slots__ = (
        "_ends_itself", "_head", "_headers", "_hearer", "_keeps", "_parser", "_upstream", "_whole", "line", "question",
        "sending",
    )  # fmt: skip

    def __init__(self, upstream: Watch, hearer: ResponseHandler) -> None:
        self._upstream = upstream
        self._hearer: ResponseHandler | None = hearer
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers = _NONE
        self._head: int | None = 0  # bytes that came of it; None: it is complete
        # What was sent on a connection from before: if the server closed that in this moment, it is sent once more.
        self.question: Request | None = None
        self._ends_itself = False  # else its end is that of the connection (RFC 9112 section 6.3)
        self._whole = self._keeps = False
        self.line: Any = None  # the socket, or its descriptor
        self.sending: gevent.Greenlet | None = None

    @property
    def fd(self) -> int:
        return self.line if isinstance(self.line, int) else int(self.line.fileno())

    def pause(self) -> None:
        if self.line is not None:
            self._upstream.unwatch(self.fd)

    def resume(self) -> None:
        if self.line is not None:
            self._upstream.watch(self)
            self.read()

    def release(self) -> None:
        self._hearer = None

    def close(self) -> None:
        self._hearer = self._parser = None
        sending, self.sending = self.sending, None
        if sending is not None:
            sending.kill(block=False)
        self._close(self._let_go())

    @staticmethod
    def _close(line: Any) -> None:
        if isinstance(line, int):
            os.close(line)
        elif line is not None:
            line.close()

    def _let_go(self) -> Any:
        if self.line is not None:
            self._upstream.unwatch(self.fd)
        line, self.line = self.line, None
        return line

    def fail(self, fault: Fault) -> None:
        hearer = self._hearer
        self.close()
        if hearer is not None:
            hearer.failed(fault)

    def read(self) -> None:
        """What is there. Of what is encrypted all of it: the epoll does not see what is decrypted already."""
        while self.line is not None and self._upstream.watches(self.fd):
            plain = isinstance(self.line, int)
            try:
                data = os.read(self.line, READ_BYTES) if plain else self.line.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError as error:
                if not self._asked_again():
                    message = f"The connection to the model broke: {error.strerror or error}."
                    self.fail(Fault("upstream_closed", message))
                return
            self._feed(data)
            if plain:
                return

    def _feed(self, data: bytes) -> None:
        if not data:
            self._hung_up()
            return
        self.question = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error, httptools.HttpParserCallbackError):
                logger.exception("an answer could not be heard because of an error of the service")
            if not self._whole:
                message = f"The model's server does not speak HTTP as it should: {error}."
                self.fail(Fault("upstream_malformed", message))
                return
        if self._head is not None:
            self._head += len(data)
            if self._head > MOST_HEAD_BYTES:
                self.fail(Fault("upstream_malformed", "The head of the model's answer does not end."))
        elif self._whole:
            self._finish(keep=self._keeps)
        elif self._hearer is None and self.line is not None:  # released: its end should be at hand
            gevent.spawn_later(TRAILING_SECONDS, self.close)

    def _hung_up(self) -> None:
        if self._asked_again():
            return
        if self._head is not None or self._ends_itself:
            self.fail(Fault("upstream_closed", "The model's server closed the connection in the middle of its answer."))
        else:
            self._finish(keep=False)

    def _asked_again(self) -> bool:
        question, self.question = self.question, None
        if question is None:
            return False
        self._close(self._let_go())
        self._upstream.ask_again(self, question)
        return True

    def _finish(self, *, keep: bool) -> None:
        hearer = self._hearer
        if keep and self.line is not None:
            self._upstream.keep(self._let_go())
        self.close()
        if hearer is None:
            return
        try:
            hearer.complete()
        except Exception:
            logger.exception("the end of an answer could not be heard because of an error of the service")
            hearer.failed(Fault("internal_error", "The service made an error; it was logged."))

    # The response

    def on_message_begin(self) -> None:
        self._headers = {}
        self._ends_itself = self._whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headers is _NONE:
            return  # a trailer
        known = name.decode("latin-1").lower()
        if matters(known):
            text = value.decode("latin-1").strip()
            self._headers[known] = f"{self._headers[known]}, {text}" if known in self._headers else text
        elif known in ("content-length", "transfer-encoding"):
            self._ends_itself = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:  # others come before the response (RFC 9110 section 15.2)
            self._head = None
            self._upstream.answered(status, self._headers)
            if self._hearer is not None:
                self._hearer.began(status, self._headers)
        self._headers = _NONE

    def on_body(self, body: bytes) -> None:
        if self._hearer is not None:
            self._hearer.heard(body)

    def on_message_complete(self) -> None:
        if self._parser is not None and self._parser.get_status_code() >= 200:
            self._whole, self._keeps = True, self._parser.should_keep_alive()  # which is not known any more afterwards
