"""One request to a model's server, and the reading of its response."""

from __future__ import annotations

import logging
import os
import ssl
from typing import TYPE_CHECKING, Final

import gevent

from pushsvc.llm.models.base import Fault, ResponseHandler
from pushsvc.llm.models.idle_connections import Line
from pushsvc.llm.models.request import Request, redirected
from pushsvc.llm.models.response_stream import ResponseStream

if TYPE_CHECKING:
    from pushsvc.llm.models.upstream import Upstream

logger = logging.getLogger(__name__)

READ_BYTES: Final = 65536
TRAILING_SECONDS: Final = 1.0  # how long the end of a response may take after its last event


class HttpCall:
    """One request: its connection, and the response on it."""

    __slots__ = ("_handler", "_moved", "_stream", "_upstream", "keepable", "line", "repeatable", "request", "sending")

    def __init__(self, upstream: Upstream, handler: ResponseHandler, request: Request) -> None:
        self._upstream = upstream
        self._handler: ResponseHandler | None = handler
        self._stream = ResponseStream(handler, self._on_head)
        self.request: Request | None = request  # until its response begins: it may be redirected
        self._moved: Request | None = None  # where it is redirected
        # Whether it was sent on a kept connection. If the server has just closed that, the request is sent once more.
        self.repeatable = False
        self.keepable = False  # whether the connection can be used for another question
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
        request, self.request = self.request, None
        self._moved = None if request is None else redirected(request, status, headers)
        if self._moved is not None:
            self._stream.mute()
        elif self._handler is not None:
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
        self.repeatable = False
        try:
            self._stream.feed(data)
        except Fault as fault:
            self.fail(fault)
            return
        if self._moved is not None and self._handler is not None:
            self._follow(self._moved, self._handler)
        elif self._stream.whole:
            self._finish(keep=self._stream.keeps and self.keepable)
        elif self._handler is None and self.line is not None:  # released: the response should end soon
            gevent.spawn_later(TRAILING_SECONDS, self.close)

    def _hung_up(self) -> None:
        if self._sent_again():
            return
        if self._stream.is_cut_by_hang_up:
            self.fail(Fault("upstream_closed", "The model's server closed the connection in the middle of its answer."))
        else:
            self._finish(keep=False)

    def _follow(self, request: Request, handler: ResponseHandler) -> None:
        """Send the request to where it was redirected, on a new connection."""
        self._close(self._let_go())
        self._stream.close()
        self._stream = ResponseStream(handler, self._on_head)
        self._moved, self.request = None, request
        self._upstream.send_again(self, request)

    def _sent_again(self) -> bool:
        request, repeatable, self.repeatable = self.request, self.repeatable, False
        if request is None or not repeatable:
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
