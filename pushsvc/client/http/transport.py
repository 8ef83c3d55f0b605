"""Requests over connections that are kept open, by threads, greenlets and forked processes."""

from __future__ import annotations

import http.client
import json
import os
import select
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from pushsvc.client.errors import Foreign, ServiceError
from pushsvc.client.http import address
from pushsvc.program.version import VERSION

AGENT: Final = f"pushsvc/{VERSION}"
JSON: Final = "application/json"
IDLE_SECONDS: Final = 4.0  # our nginx closes what was silent for 5
MOST_SHOWN: Final = 200  # characters of somebody else's answer

Token = str | Callable[[], str]
Failure = (OSError, http.client.HTTPException)


class Response(NamedTuple):
    """An answer, read whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def is_json(self) -> bool:
        """Whether a success in JSON came: what the service answers with."""
        return self.status < 300 and self.headers.get_content_type() == JSON


class Transport:
    """The connections to one service. May be used by several threads at a time, and after a fork."""

    def __init__(self, url: str, token: Token, *, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        """`token`: or a function that gives a fresh one. `timeout`: seconds in which each step of a request, such as
        the connect, must end. Raises ValueError."""
        self.address = address.parse(url)
        self.timeout = timeout
        self._given_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._source = token
        self._token: str | None = None if callable(token) else _checked(token)
        self._idle: deque[tuple[http.client.HTTPConnection, float]] = deque()
        self._pid = os.getpid()

    def request(
        self, method: str, path: str, body: bytes | None = None, more: dict[str, str] | None = None
    ) -> Response:
        """Send a request with a JSON body. `more`: headers. One that a kept connection loses before any answer is sent
        again, so it must do no harm twice. Raises ServiceError if there is no answer."""
        while True:
            connection, kept = self._connection()
            try:
                with suppress(BrokenPipeError, ConnectionResetError):  # it may have refused before it read all
                    connection.request(method, self.address.path + path, body, self.headers() | (more or {}))
                answer = connection.getresponse()
                response = Response(answer.status, answer.msg, answer.read())
            except BaseException as error:  # also a greenlet that is killed: a late answer is for nobody else
                connection.close()
                if kept and isinstance(error, (ConnectionError, http.client.BadStatusLine)):
                    continue
                if isinstance(error, Failure):
                    raise self.unreachable(error) from error
                raise
            if connection.sock is not None:
                self._idle.append((connection, time.monotonic()))
            return response

    def headers(self, media_type: str = JSON) -> dict[str, str]:
        """The headers of a request."""
        return {"Authorization": f"Bearer {self.token}", "Content-Type": media_type, "User-Agent": AGENT}

    @property
    def token(self) -> str:
        """The token that is used."""
        if self._token is None:
            self.renew_token()
        assert self._token is not None
        return self._token

    def renew_token(self) -> bool:
        """Ask for a fresh token. Returns whether there is another one."""
        before = self._token
        if callable(self._source):
            self._token = _checked(self._source())
        return self._token != before

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before."""
        if self._pid != os.getpid():  # the parent goes on with its own
            self._pid, self._idle = os.getpid(), deque()
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return self.connect(), False
            if time.monotonic() - since < IDLE_SECONDS and not _is_readable(connection):
                return connection, True
            connection.close()

    def connect(self, timeout: float | None = None) -> http.client.HTTPConnection:
        """Make a connection of the caller's own; it opens with its first request."""
        at, seconds = self.address, timeout or self.timeout
        if not at.tls:
            return http.client.HTTPConnection(at.host, at.port, timeout=seconds)
        if self._tls is None:
            self._tls = address.trust(at, self._given_tls)
        return http.client.HTTPSConnection(at.host, at.port, timeout=seconds, context=self._tls)

    def close(self) -> None:
        """Close what is not in use."""
        while self._idle:
            self._idle.pop()[0].close()

    def unreachable(self, error: BaseException) -> ServiceError:
        """The error for a request without an answer."""
        said = "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
        wrong = isinstance(error, ssl.SSLCertVerificationError)
        return ServiceError(f"the service at {self.address.name} does not answer: {said}", temporary=not wrong)

    def refusal(self, response: Response) -> ServiceError:
        """The error that an answer tells, which may be that of a proxy, or of another service."""
        retry_after = _seconds(response.headers)
        status = response.status
        if response.headers.get_content_type() == "application/problem+json":
            problem = _object(response.body)
            detail = str(problem.get("detail") or problem.get("title") or f"status {status}")
            errors = problem.get("errors")
            return ServiceError(
                detail, status=status, errors=errors if isinstance(errors, dict) else None, retry_after=retry_after
            )
        if status in (413, 429) or status >= 500:
            where = f"what stands before the service at {self.address.name}"
            return ServiceError(f"{where} answers with status {status}", status=status, retry_after=retry_after)
        return Foreign(
            f"what answers at {self.address.name} is not pushsvc (status {status})", status=status, temporary=False
        )


def _checked(token: str) -> str:
    token = token.strip()
    if not token or not token.isascii() or any(each <= " " for each in token):
        raise ValueError("the token is empty, or holds what no token does")
    return token


def _is_readable(connection: http.client.HTTPConnection) -> bool:
    """Whether the service closed the connection, or sent what nobody asked for."""
    if connection.sock is None:
        return True
    try:
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def _seconds(headers: http.client.HTTPMessage) -> float | None:
    """Retry-After in seconds. A date is compared with the answer's own: clocks differ."""
    given = headers.get("Retry-After")
    if given is None:
        return None
    if given.isascii() and given.isdigit():
        return float(given[:9])
    try:
        until = parsedate_to_datetime(given) - parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, until.total_seconds())


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
