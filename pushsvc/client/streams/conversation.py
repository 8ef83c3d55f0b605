"""The thread of a publishing stream: sends lines and reads their answers, on one connection after the other."""

from __future__ import annotations

import http.client
import json
import selectors
import socket
import ssl
import time
from typing import Final

from pushsvc.client.backoff import Backoff
from pushsvc.client.errors import ServiceError
from pushsvc.client.http.transport import Failure, Response, Transport
from pushsvc.client.http.wire import Answer
from pushsvc.client.items import Answer as ItemAnswer
from pushsvc.client.streams.pending import Pending

NDJSON: Final = "application/x-ndjson"
_READ_BYTES: Final = 262144
_WAIT: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)
_MOST_REFUSAL: Final = 65536


class Conversation:
    """Speaks with the service until the stream is closed and all is answered, or nothing gets on for `patience`
    seconds."""

    def __init__(self, transport: Transport, pending: Pending, patience: float) -> None:
        self._transport = transport
        self._pending = pending
        self._patience = patience
        self._backoff = Backoff()
        self._progress = time.monotonic()
        self._renewed = False

    def run(self) -> None:
        """The thread."""
        try:
            while not (self._pending.closed and not self._pending):
                if not self._pending:
                    self._await_first_line()
                    self._progress = time.monotonic()
                if self._pending and not self._try():
                    return
        except BaseException as error:  # else those who wait would wait for ever
            self._pending.fail(ServiceError(f"the stream failed: {error!r}", temporary=False))
            if not isinstance(error, Exception):
                raise
        finally:
            self._pending.end()

    def _await_first_line(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pending.wakeup, selectors.EVENT_READ)
            while not self._pending and self._pending.sleeps():
                selector.select()
                self._pending.awake()

    def _try(self) -> bool:
        """Have one connection. Returns False if the stream has failed."""
        failure: ServiceError | None = None  # None: the service ended the request, as a worker does that stops
        try:
            _Request(self._transport, self._pending, self).converse()
        except ServiceError as error:
            failure = error
        except Failure as error:
            failure = self._transport.unreachable(error)
        self._pending.return_sent()
        if not self._pending:  # what was silent may be cut
            return True
        if failure is not None and failure.status == 401 and not self._renewed and self._transport.renew_token():
            self._renewed = True
            return True
        pause = self._backoff.pause(failure.retry_after if failure else None)
        late = time.monotonic() + pause - self._progress > self._patience
        if late or (failure is not None and not failure.temporary):
            self._pending.fail(failure or ServiceError("the service takes no streams of events"))
            return False
        time.sleep(pause)
        return True

    def answered(self, answers: list[ItemAnswer]) -> float | None:
        """Take answers. Returns seconds for which the service wants a rest."""
        refusal = self._pending.answer(answers, self._patience)
        if refusal is None:
            self._progress = time.monotonic()
            self._backoff.reset()
            self._renewed = False
            return None
        if refusal.status == 401:
            raise refusal
        return self._backoff.pause(refusal.retry_after)


class _Request:
    """One connection, with one request."""

    def __init__(self, transport: Transport, pending: Pending, owner: Conversation) -> None:
        self._transport = transport
        self._pending = pending
        self._owner = owner
        self._answer = Answer()
        self._out = memoryview(b"")
        self._line = b""  # the beginning of an answer line
        self._ended = False  # the request
        self._rest_until = 0.0
        self._heard = time.monotonic()

    def converse(self) -> None:
        """Send and read until the answer ends. Raises ServiceError, or one of `Failure`."""
        connection = self._transport.connect()
        try:
            connection.connect()
            self._out = memoryview(self._head())
            sock = connection.sock
            sock.setblocking(False)
            self._speak(sock)
        finally:
            connection.close()
        if self._answer.status != 200:
            raise self._refusal()

    def _head(self) -> bytes:
        at = self._transport.address
        fields = self._transport.headers(NDJSON) | {"Host": at.name, "Transfer-Encoding": "chunked"}
        lines = [f"POST {at.path}/publish HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _speak(self, sock: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(sock, selectors.EVENT_READ)
            selector.register(self._pending.wakeup, selectors.EVENT_READ)
            while not self._answer.complete:
                blocked = self._write(sock)
                selector.modify(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0))
                ready = selector.select(self._seconds(blocked))
                self._pending.awake()
                if any(key.fileobj is sock and mask & selectors.EVENT_READ for key, mask in ready):
                    self._read(sock)
                elif self._pending.unanswered and time.monotonic() - self._heard > self._transport.timeout:
                    raise ServiceError(f"no answer came for {self._transport.timeout:g} s")

    def _seconds(self, blocked: bool) -> float:
        """The time to wait for the sockets."""
        now = time.monotonic()
        if not self._pending.unanswered:
            self._heard = now
        silence = max(0.0, self._heard + self._transport.timeout - now) + 0.01
        if self._rest_until > now:
            return min(silence, self._rest_until - now)
        return silence if blocked or self._ended or self._pending.sleeps() else 0.0

    def _write(self, sock: socket.socket) -> bool:
        """Send what there is. Returns whether some of it must wait."""
        try:
            while self._out or self._more():
                self._out = self._out[sock.send(self._out) :]
        except _WAIT:
            return True
        except (BrokenPipeError, ConnectionResetError):  # it may have refused before it read all
            self._out, self._ended = memoryview(b""), True
        return False

    def _more(self) -> bool:
        if self._ended or self._rest_until > time.monotonic():
            return False
        if piece := self._pending.take():
            self._out = memoryview(b"%x\r\n%s\r\n" % (len(piece), piece))
        elif self._pending.closed and not self._pending:  # a line that is unanswered may have to be sent again
            self._out, self._ended = memoryview(b"0\r\n\r\n"), True
        else:
            return False
        return True

    def _read(self, sock: socket.socket) -> None:
        while not self._answer.complete:
            try:
                piece = sock.recv(_READ_BYTES)
            except _WAIT:
                return
            self._heard = time.monotonic()
            if not piece:
                self._answer.end()
                if not self._answer.complete:
                    raise http.client.RemoteDisconnected("the connection was cut")
                return
            self._take(self._answer.feed(piece))

    def _take(self, body: bytes) -> None:
        *lines, self._line = (self._line + body).split(b"\n")
        if self._answer.status != 200:
            self._line = b"\n".join([*lines, self._line])
            if len(self._line) > _MOST_REFUSAL:
                raise self._refusal()
            return
        if self._answer.headers.get_content_type() != NDJSON:
            raise self._refusal()
        try:
            answers = [json.loads(line) for line in lines if line]
        except ValueError as error:
            raise self._refusal() from error
        if answers and (pause := self._owner.answered(answers)) is not None:
            self._rest_until = time.monotonic() + pause

    def _refusal(self) -> ServiceError:
        assert self._answer.status is not None
        return self._transport.refusal(Response(self._answer.status, self._answer.headers, self._line))
