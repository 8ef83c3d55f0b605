"""The model's server: asked over HTTP/1.1, and heard without a greenlet.

A short-lived greenlet connects and sends (urllib3: names, TLS, certificates). Then the socket stands in one epoll with
all others, and what comes goes through a parser in C (httptools). So an answer that is awaited costs a kilobyte, and a
token costs no switch between greenlets.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import ssl
import time
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import gevent
import httptools
import urllib3.exceptions
from gevent.monkey import get_original
from urllib3.connection import HTTPConnection, HTTPSConnection

from pushsvc.poll import Poll

logger = logging.getLogger(__name__)

_poll: Final = get_original("select", "poll")
_SAYS: Final = select.EPOLLIN | select.EPOLLRDHUP
HEADERS: Final = ("content-type", "retry-after")
READ_BYTES: Final = 65536
IDLE_SECONDS: Final = 4.0  # how long a connection is kept unused; many servers close theirs after five
TRAILING_SECONDS: Final = 1.0  # how long the end of a response may take after its last event
MOST_IDLE: Final = 100


class Fault(Exception):
    """The server cannot be reached, or does not speak HTTP as it should. `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Hearer(Protocol):
    """Who hears what an upstream answers. Nothing is heard after `complete` or `failed`, or once the call is closed."""

    def began(self, status: int, headers: dict[str, str]) -> None:
        """The head came, with those of the headers that matter here (HEADERS)."""

    def heard(self, body: bytes) -> None:
        """A piece of the body."""

    def complete(self) -> None:
        """The body has ended as it should."""

    def failed(self, fault: Fault) -> None: ...


class Call(Protocol):
    """A question that was asked."""

    def pause(self) -> None:
        """Hear nothing for a while: what was heard cannot be put anywhere."""

    def resume(self) -> None: ...

    def release(self) -> None:
        """Hear nothing more: all was said, and the response is about to end."""

    def close(self) -> None:
        """Hear nothing more, and let the server know at once. Harmless when repeated."""


class Model(Protocol):
    """Who answers: an Upstream, or the Mock."""

    def ask(self, body: bytes, hearer: Hearer) -> Call: ...


class Upstream:
    """An OpenAI-compatible server at a base URL, such as https://api.openai.com/v1."""

    def __init__(self, base_url: str, api_key: str, connect_seconds: float) -> None:
        parts = urlsplit(base_url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._path = f"{parts.path.rstrip('/')}/chat/completions"
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",  # a compressor would hold tokens back
            "User-Agent": "pushsvc",
        }
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._connect_seconds = connect_seconds
        self._poll = Poll(self._ready)
        self._calls: dict[int, _HttpCall] = {}
        self._idle: list[tuple[float, Any]] = []  # kept connections: since when, and the socket or descriptor

    def ask(self, body: bytes, hearer: Hearer) -> Call:
        call = _HttpCall(self, hearer)
        call.sending = gevent.spawn(self._send, call, body)  # runs when the caller waits for something
        return call

    def _send(self, call: _HttpCall, body: bytes) -> None:
        """In a greenlet of its own, which `close` may kill."""
        connection = self._connection()
        try:
            connection.timeout = self._connect_seconds
            kept = self._kept()
            if kept is None:
                connection.connect()
            else:
                connection.sock = kept
            connection.request("POST", self._path, body=body, headers=self._headers)
            sock, connection.sock = connection.sock, None
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
            logger.warning("the model's server: %s: %s", type(error).__name__, error)
            call.sending = None
            call.fail(_connect_fault(error))
            return
        finally:
            connection.close()
        call.sending = None
        self._listen(call, sock)

    def _connection(self) -> HTTPConnection:
        if self._tls is not None:
            return HTTPSConnection(self._host, self._port, ssl_context=self._tls)
        return HTTPConnection(self._host, self._port)

    def _kept(self) -> Any:
        """A connection from before that is still good."""
        while self._idle:
            since, sock = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and not _readable(sock):
                return sock
            sock.close()
        return None

    def _listen(self, call: _HttpCall, sock: Any) -> None:
        sock.settimeout(0.0)
        # An encrypted connection keeps its state, of a plain one the descriptor is all there is to keep.
        call.line = sock if self._tls is not None else sock.detach()
        self.watch(call)
        call.read()

    def watch(self, call: _HttpCall) -> None:
        try:
            self._poll.add(call.fd, _SAYS)
        except OSError as error:
            call.fail(
                Fault("upstream_unreachable", f"The connection to the model cannot be watched: {error.strerror}.")
            )
            return
        self._calls[call.fd] = call

    def watches(self, fd: int) -> bool:
        return fd in self._calls

    def unwatch(self, fd: int) -> None:
        if self._calls.pop(fd, None) is not None:
            self._poll.remove(fd)

    def keep(self, line: Any) -> None:
        """A connection on which the response is complete."""
        sock = socket.socket(fileno=line) if isinstance(line, int) else line
        if len(self._idle) >= MOST_IDLE:
            self._idle.pop(0)[1].close()
        self._idle.append((time.monotonic(), sock))

    def _ready(self, fd: int, events: int) -> None:
        call = self._calls.get(fd)
        if call is not None:
            call.read()


class _HttpCall:
    """One request, and the parser of its response: httptools calls the methods whose names begin with `on_`."""

    __slots__ = ("_ends_itself", "_headers", "_hearer", "_keeps", "_parser", "_upstream", "_whole", "line", "sending")

    def __init__(self, upstream: Upstream, hearer: Hearer) -> None:
        self._upstream = upstream
        self._hearer: Hearer | None = hearer
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
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
        line = self._let_go()
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
                self.fail(Fault("upstream_closed", f"The connection to the model broke: {error.strerror or error}."))
                return
            self._feed(data)
            if plain:
                return

    def _feed(self, data: bytes) -> None:
        if not data:
            self._hung_up()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error, httptools.HttpParserCallbackError):
                logger.exception("an answer could not be heard because of an error of the service")
            if not self._whole:
                message = f"The model's server does not speak HTTP as it should: {error}."
                self.fail(Fault("upstream_malformed", message))
                return
        if self._whole:
            self._finish(keep=self._keeps)
        elif self._hearer is None and self.line is not None:  # released: its end should be at hand
            gevent.spawn_later(TRAILING_SECONDS, self.close)

    def _hung_up(self) -> None:
        if self._parser.get_status_code() == 0 or self._ends_itself:
            self.fail(Fault("upstream_closed", "The model's server closed the connection in the middle of its answer."))
        else:
            self._finish(keep=False)

    def _finish(self, *, keep: bool) -> None:
        hearer = self._hearer
        if keep and self.line is not None:
            self._upstream.keep(self._let_go())
        self.close()
        if hearer is not None:
            hearer.complete()

    # The response

    def on_message_begin(self) -> None:
        self._headers = {}
        self._ends_itself = self._whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        known = name.decode("latin-1").lower()
        if known in HEADERS:
            self._headers[known] = value.decode("latin-1")
        elif known in ("content-length", "transfer-encoding"):
            self._ends_itself = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and self._hearer is not None:  # others come before the response (RFC 9110 section 15.2)
            self._hearer.began(status, self._headers)

    def on_body(self, body: bytes) -> None:
        if self._hearer is not None:
            self._hearer.heard(body)

    def on_message_complete(self) -> None:
        if self._parser is not None and self._parser.get_status_code() >= 200:
            self._whole, self._keeps = True, self._parser.should_keep_alive()  # which is not known any more afterwards


def _connect_fault(error: Exception) -> Fault:
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError) and not refused:
        return Fault("connect_timeout", "The model's server did not take the request in time.")
    return Fault("upstream_unreachable", "The model's server cannot be reached.")


def _readable(sock: Any) -> bool:
    """The server closed it, or says what nobody asked for."""
    look = _poll()
    look.register(sock.fileno(), select.POLLIN)
    return bool(look.poll(0))
