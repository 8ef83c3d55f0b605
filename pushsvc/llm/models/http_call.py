"""One request to a model's server, and the reading of its response."""

from __future__ import annotations

import logging
import os
import ssl
from typing import TYPE_CHECKING, Final, NamedTuple

import gevent

from pushsvc.llm.models.base import Fault, ResponseHandler
from pushsvc.llm.models.idle_connections import Line
from pushsvc.llm.models.response_stream import ResponseStream

if TYPE_CHECKING:
    from pushsvc.llm.models.upstream import Upstream

logger = logging.getLogger(__name__)

READ_BYTES: Final = 65536
TRAILING_SECONDS: Final = 1.0  # how long the end of a response may take after its last event


class Request(NamedTuple):
    """A request as it is sent. `target`: the path, and the query."""

    method: str
    target: str
    body: bytes | None = None


class HttpCall:
    """One request: its connection, and the response on it."""

    __slots__ = ("_handler", "_stream", "_upstream", "line", "repeatable", "sending")

    def __init__(self, upstream: Upstream, handler: ResponseHandler) -> None:
        self._upstream = upstream
        self._handler: ResponseHandler | None = handler
        self._stream = ResponseStream(handler, self._on_head)
        # A request sent on a kept connection. If the server has just closed that, the request is sent once more.
        self.repeatable: Request | None = None
        self.line: Line = None
        self.sending: gevent.Greenlet | None = None

    @property
    def fd(self) -> int:
        """The descriptor of the connection."""
        return self.line if isinstance(self.line, int) else int(self.line.fileno())

    def pause(self) -> None:
        """Stop reading for a while; see Call."""
        if self.line is not None:
            self._upstream.unwatch(self.fd)

    def resume(self) -> None:
        """Read again, at once what has come meanwhile; see Call."""
        if self.line is not None:
            self._upstream.watch(self)
            self.read()

    def release(self) -> None:
        """Tell the handler nothing more. The connection is kept for another request if the response ends soon."""
        self._handler = None
        self._stream.mute()

    def close(self) -> None:
        """Tell the handler nothing more, and close the connection. Harmless when repeated."""
        self._handler = None
        self._stream.close()
        sending, self.sending = self.sending, None
        if sending is not None:
            sending.kill(block=False)
        self._close(self._let_go())

    @staticmethod
    def _close(line: Line) -> None:
        if isinstance(line, int):
            os.close(line)
        elif line is not None:
            line.close()

    def _let_go(self) -> Line:
        if self.line is not None:
            self._upstream.unwatch(self.fd)
        line, self.line = self.line, None
        return line

    def fail(self, fault: Fault) -> None:
        """Close the connection, and tell the handler why."""
        handler = self._handler
        self.close()
        if handler is not None:
            handler.failed(fault)

    def _on_head(self, status: int, headers: dict[str, str]) -> None:
        self._upstream.log_refusal(status, headers)
        if self._handler is not None:
            self._handler.began(status, headers)

    def read(self) -> None:
        """Read what has come. An encrypted connection is read until nothing is left, because the poll does not see
        bytes that are decrypted already."""
        while self.line is not None:
            plain = isinstance(self.line, int)
            try:
                data = os.read(self.line, READ_BYTES) if plain else self.line.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError as error:
                if not self._sent_again():
                    message = f"The connection to the model broke: {error.strerror or error}."
                    self.fail(Fault("upstream_closed", message))
                return
            self._feed(data)
            if plain or self.line is None or not self._upstream.watches(self.fd):
                return

    def _feed(self, data: bytes) -> None:
        if not data:
            self._hung_up()
            return
        self.repeatable = None
        try:
            self._stream.feed(data)
        except Fault as fault:
            self.fail(fault)
            return
        if self._stream.whole:
            self._finish(keep=self._stream.keeps)
        elif self._handler is None and self.line is not None:  # released: the response should end soon
            gevent.spawn_later(TRAILING_SECONDS, self.close)

    def _hung_up(self) -> None:
        if self._sent_again():
            return
        if self._stream.is_cut_by_hang_up:
            self.fail(Fault("upstream_closed", "The model's server closed the connection in the middle of its answer."))
        else:
            self._finish(keep=False)

    def _sent_again(self) -> bool:
        request, self.repeatable = self.repeatable, None
        if request is None:
            return False
        self._close(self._let_go())
        self._upstream.send_again(self, request)
        return True

    def _finish(self, *, keep: bool) -> None:
        handler = self._handler
        if keep and self.line is not None:
            self._upstream.idle.keep(self._let_go())
        self.close()
        if handler is None:
            return
        try:
            handler.complete()
        except Exception:
            logger.exception("the end of an answer could not be heard because of an error of the service")
            handler.failed(Fault("internal_error", "The service made an error; it was logged."))
