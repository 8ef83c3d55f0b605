"""The model's server: asked over HTTP/1.1, and heard without a greenlet.

A short-lived greenlet connects and sends (urllib3: names, TLS, certificates). Then the socket stands in one poll with
all others, and what comes goes through a parser in C (httptools). So an answer that is awaited costs a kilobyte, and a
token costs no switch between greenlets.
"""

from __future__ import annotations

import logging
import re
import select
import socket
import ssl
import time
from typing import Any, Final
from urllib.parse import quote, urlsplit

import gevent
import urllib3.exceptions
from gevent.monkey import get_original
from urllib3.connection import HTTPConnection, HTTPSConnection

from pushsvc.concurrency.poll import MakePoll
from pushsvc.llm.models.base import Call, Fault, ResponseHandler
from pushsvc.llm.models.http_call import HttpCall, Request

logger = logging.getLogger(__name__)

_poll: Final = get_original("select", "poll")
IDLE_SECONDS: Final = 4.0  # how long a connection is kept unused; many servers close theirs after five
MOST_IDLE: Final = 100
TOLD_SECONDS: Final = 600.0  # how long a refusal of the same kind is not logged again
_WRONG: Final = {
    401: "PUSHSVC_LLM_API_KEY is not what it wants",
    403: "PUSHSVC_LLM_API_KEY does not allow what was asked",
    404: "it has no such model, or PUSHSVC_LLM_BASE_URL has the wrong path",
}


class Upstream:
    """An OpenAI-compatible server at a base URL, such as https://api.openai.com/v1."""

    def __init__(self, base_url: str, api_key: str, connect_seconds: float, poll: MakePoll) -> None:
        parts = urlsplit(base_url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._path = parts.path.rstrip("/")
        self._query = f"?{parts.query}" if parts.query else ""  # as Azure has it, with a version
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",  # a compressor would hold tokens back
            "User-Agent": "pushsvc",
        }
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._connect_seconds = connect_seconds
        self._poll = poll(self._ready)
        self._calls: dict[int, HttpCall] = {}
        self._idle: list[tuple[float, Any]] = []  # kept connections: since when, and the socket or descriptor
        self._told: dict[int, float] = {}  # statuses that an operator should see: when they were logged

    def ask(self, body: bytes, hearer: ResponseHandler) -> Call:
        return self._call(Request("POST", f"{self._path}/chat/completions{self._query}", body), hearer)

    def list(self, name: str | None, hearer: ResponseHandler) -> Call:
        one = "" if name is None else f"/{quote(name)}"
        return self._call(Request("GET", f"{self._path}/models{one}{self._query}"), hearer)

    def _call(self, request: Request, hearer: ResponseHandler) -> Call:
        call = HttpCall(self, hearer)
        call.sending = gevent.spawn(self._send, call, request)  # runs when the caller waits for something
        return call

    def ask_again(self, call: HttpCall, request: Request) -> None:
        call.sending = gevent.spawn(self._send, call, request, fresh=True)

    def answered(self, status: int, headers: dict[str, str]) -> None:
        """Wrong settings are the operator's to find, and not that of who asks."""
        now = time.monotonic()
        if (status in _WRONG or 300 <= status < 400) and now - self._told.get(status, -TOLD_SECONDS) >= TOLD_SECONDS:
            self._told[status] = now
            advice = _WRONG.get(status) or f"it redirects to {_without_query(headers.get('location', ''))}"
            logger.warning("the model's server answers %d: %s", status, advice)

    def _send(self, call: HttpCall, request: Request, *, fresh: bool = False) -> None:
        """In a greenlet of its own, which `close` may kill. `fresh`: not on a connection from before."""
        try:
            self._say(call, request, None if fresh else self._kept())
        except Exception:
            logger.exception("the model's server cannot be asked because of an error of the service")
            call.sending = None
            call.fail(Fault("internal_error", "The service made an error; it was logged."))

    def _say(self, call: HttpCall, request: Request, kept: Any) -> None:
        """`kept`: a connection from before."""
        connection = self._connection()
        try:
            connection.timeout = self._connect_seconds
            if kept is None:
                connection.connect()
            else:
                connection.sock = kept
            connection.request(request.method, request.target, body=request.body, headers=self._headers)
            sock, connection.sock = connection.sock, None
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
            if kept is not None:
                self.ask_again(call, request)
                return
            logger.warning("the model's server: %s: %s", type(error).__name__, error)
            call.sending = None
            call.fail(_connect_fault(error))
            return
        finally:
            connection.close()
        call.sending = None
        call.question = None if kept is None else request
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

    def _listen(self, call: HttpCall, sock: Any) -> None:
        sock.settimeout(0.0)
        # An encrypted connection keeps its state, of a plain one the descriptor is all there is to keep.
        call.line = sock if self._tls is not None else sock.detach()
        self.watch(call)
        call.read()

    def watch(self, call: HttpCall) -> None:
        try:
            self._poll.add(call.fd)
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

    def _ready(self, fd: int, _room: bool) -> None:
        call = self._calls.get(fd)
        if call is not None:
            call.read()


def _without_query(address: str) -> str:
    """For the log; a query may hold keys."""
    return ascii(re.split("[?#]", address)[0][:200])


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
