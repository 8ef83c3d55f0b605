"""The model's server, which is asked over HTTP/1.1. Its responses are read without a greenlet for each.

A short-lived greenlet connects and sends (urllib3 does names, TLS and certificates). Then one poll watches the socket
together with all others, and a parser in C (httptools) reads the response. So a pending answer takes a kilobyte of
memory, and a token takes no switch between greenlets.
"""

from __future__ import annotations

import http.client
import logging
import re
import socket
import ssl
import sys
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

import gevent
import urllib3.exceptions

from pushsvc.concurrency.poll import MakePoll
from pushsvc.llm.models.base import Call, Fault, Passed, ResponseHandler
from pushsvc.llm.models.connecting import Connector
from pushsvc.llm.models.credentials import Credentials, NoKey
from pushsvc.llm.models.http_call import HttpCall
from pushsvc.llm.models.idle_connections import IdleConnections
from pushsvc.llm.models.request import Request, origin_of
from pushsvc.telemetry.current import current
from pushsvc.telemetry.traceparent import passed_on

logger = logging.getLogger(__name__)

TOLD_SECONDS: Final = 60.0  # a status is logged only once in this time
MOST_REPEATED_BYTES: Final = 65536  # of a question that is sent on a kept connection, and so may have to be repeated
_WRONG: Final = {
    401: "PUSHSVC_LLM_API_KEY is not what it wants",
    403: "PUSHSVC_LLM_API_KEY does not allow what was asked",
    404: "it has no such model, or PUSHSVC_LLM_BASE_URL has the wrong path",
    407: "a proxy on the way wants a user and a password",
    429: "its limits for PUSHSVC_LLM_API_KEY are reached",
}


class Upstream:
    """An OpenAI-compatible server at a base URL, such as https://api.openai.com/v1."""

    def __init__(self, base_url: str, credentials: Credentials, connector: Connector, poll: MakePoll) -> None:
        """Raises ConfigError if it is reached by a proxy that is not spoken to."""
        parts = urlsplit(base_url)
        self._origin = origin_of(parts)
        connector.check(self._origin)
        self._path = parts.path.rstrip("/")
        self._query = parts.query  # Azure's base URLs have one, with a version
        self._credentials = credentials
        self._connector = connector
        self._poll = poll(self._ready)
        self._calls: dict[int, HttpCall] = {}
        self.idle = IdleConnections()
        self._told: dict[int, float] = {}  # monotonic time at which each status was last logged

    def ask(self, body: bytes, handler: ResponseHandler, headers: Mapping[str, str]) -> Call:
        """Send a question to `/chat/completions`; see Model."""
        return self._call("POST", "/chat/completions", body, handler, headers)

    def list(self, name: str | None, handler: ResponseHandler) -> Call:
        """Ask `/models`; see Model."""
        path = "/models" if name is None else f"/models/{quote(name)}"
        return self._call("GET", path, None, handler, passed_on(current()))

    def pass_on(self, request: Passed, handler: ResponseHandler) -> Call:
        """Send a request to another path; see Model."""
        headers = {**passed_on(current()), **request.headers}
        return self._call("POST", request.path, request.body, handler, headers, request.query)

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        handler: ResponseHandler,
        headers: Mapping[str, str],
        query: str = "",
    ) -> Call:
        queries = "&".join(filter(None, (self._query, query)))
        target = sys.intern(f"{self._path}{path}{'?' if queries else ''}{queries}")  # nearly always the same
        request = Request(method, self._origin, target, body, headers)
        call = HttpCall(self, handler, request)
        call.sending = gevent.spawn(self._send, call, request)  # runs when the caller waits for something
        return call

    def send_again(self, call: HttpCall, request: Request) -> None:
        """Send a request on a new connection: the server had closed the kept one, or redirects it."""
        call.sending = gevent.spawn(self._send, call, request, fresh=True)

    def log_refusal(self, status: int, headers: dict[str, str]) -> None:
        """Log a status that is no success: an operator must see what its users do."""
        now = time.monotonic()
        if status < 300 or now - self._told.get(status, -TOLD_SECONDS) < TOLD_SECONDS:
            return
        self._told[status] = now
        advice = (
            f"it redirects to {_without_query(headers.get('location', ''))}" if status < 400 else _WRONG.get(status)
        )
        logger.warning(
            "the model's server answers %d: %s%s", status, f"{advice}; " if advice else "", self._origin.address
        )

    def _send(self, call: HttpCall, request: Request, *, fresh: bool = False) -> None:
        """Send a request, in a greenlet of its own that `HttpCall.close` may kill. `fresh`: on a new connection."""
        try:
            fresh = fresh or len(request.body or b"") > MOST_REPEATED_BYTES or request.origin != self._origin
            self._send_on(call, request, None if fresh else self.idle.take())
        except Exception:
            logger.exception("the model's server cannot be asked because of an error of the service")
            call.sending = None
            call.fail(Fault("internal_error", "The service made an error; it was logged."))

    def _send_on(self, call: HttpCall, request: Request, kept: socket.socket | None) -> None:
        """Send a request on a kept connection, or on a new one if `kept` is None."""
        connection = self._connector.connection(request.origin)
        try:
            headers = self._credentials.headers(request.headers, private=self._origin.trusts(request.origin))
            headers |= self._connector.headers(request)
            if kept is None:
                connection.connect()
            else:
                connection.sock = kept
            connection.request(request.method, self._connector.target(request), body=request.body, headers=headers)
            sock, connection.sock = connection.sock, None
        except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError) as error:
            if kept is not None and not isinstance(error, NoKey):
                self.send_again(call, request)
                return
            logger.warning("the model's server: %s: %s", type(error).__name__, error)
            call.sending = None
            call.fail(_connect_fault(error))
            return
        finally:
            connection.close()
        call.sending = None
        call.repeatable, call.keepable = kept is not None, request.origin == self._origin
        self._listen(call, sock)

    def _listen(self, call: HttpCall, sock: Any) -> None:
        sock.settimeout(0.0)
        # Of a plain connection only the descriptor is kept, to save memory; TLS needs the socket object's state.
        call.line = sock if isinstance(sock, ssl.SSLSocket) else sock.detach()
        self.watch(call)
        call.read()

    def watch(self, call: HttpCall) -> None:
        """Read the call's response whenever a piece of it comes."""
        try:
            self._poll.add(call.fd)
        except OSError as error:
            call.fail(
                Fault("upstream_unreachable", f"The connection to the model cannot be watched: {error.strerror}.")
            )
            return
        self._calls[call.fd] = call

    def watches(self, fd: int) -> bool:
        """Whether the response on this descriptor is being read."""
        return fd in self._calls

    def unwatch(self, fd: int) -> None:
        """Stop reading the response on this descriptor. Harmless when repeated."""
        if self._calls.pop(fd, None) is not None:
            self._poll.remove(fd)

    def _ready(self, fd: int, _room: bool) -> None:
        call = self._calls.get(fd)
        if call is not None:
            call.read()


def _without_query(address: str) -> str:
    """The address as it is logged: without its query, which may hold keys."""
    return ascii(re.split("[?#]", address)[0][:200])


def _connect_fault(error: Exception) -> Fault:
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError) and not refused:
        return Fault("connect_timeout", "The model's server did not take the request in time.")
    return Fault("upstream_unreachable", "The model's server cannot be reached.")
