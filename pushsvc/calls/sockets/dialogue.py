"""The messages of a WebSocket's client. An idle connection has no greenlet here: one runs while there is something to
take, and the kernel keeps what comes meanwhile."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import Final

import gevent
from wsproto.frame_protocol import Frame, FrameProtocol, Opcode, ParseFailed

from pushsvc.concurrency.shares import OWNER, SharedSlice
from pushsvc.delivery.endings import Reason
from pushsvc.delivery.lifetimes import Lifetimes
from pushsvc.delivery.subscriber import Subscriber
from pushsvc.delivery.transports.detached import DetachedSocket
from pushsvc.delivery.transports.hangup import linger
from pushsvc.events import websocket
from pushsvc.telemetry.current import go_on

logger = logging.getLogger(__name__)

_EMPTY_PONG: Final = b"\x8a\x80"  # the answer to our heartbeat; four bytes of a mask follow
_EMPTY_PONG_BYTES: Final = 6


class Refused(Exception):
    """The client is to hear no more: the connection is closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class _Parser(FrameProtocol):
    """wsproto's parser of frames (RFC 6455 section 5)."""

    def __init__(self) -> None:
        super().__init__(client=False, extensions=[])

    @property
    def idle(self) -> bool:
        """Whether it is between two messages, so that another parser may go on."""
        frames, messages = self._frame_decoder, self._message_decoder
        return frames.header is None and not len(frames.buffer) and messages.opcode is None


class Dialogue:
    """Puts the frames of one client together to messages, and answers pings and the end (RFC 6455 sections 5.4, 5.5).

    `busy`: it takes nothing just now. `before`: stops or starts reading for as long as a greenlet serves the request.
    """

    __slots__ = ("_lifetimes", "_message", "_most", "_parser", "_take", "before", "busy", "subscriber")

    def __init__(self, lifetimes: Lifetimes, subscriber: Subscriber, take: Callable[[bytes], None], most: int) -> None:
        """`take`: is given each message, and may raise Refused; `most`: bytes of a message."""
        self.subscriber = subscriber
        self.busy = False
        self.before: Callable[[bool], None] | None = None
        self._lifetimes = lifetimes
        self._take = take
        self._most = most
        self._parser: _Parser | None = None  # while a message is incomplete: it is larger than all the rest
        self._message: bytearray | None = None

    def hear(self, said: bytes) -> bool:
        """Take bytes, see Listener."""
        if self.busy or not said:  # what is reported while nobody listens is that the connection is broken
            return False
        if self._parser is None and len(said) == _EMPTY_PONG_BYTES and said.startswith(_EMPTY_PONG):
            return True
        self.busy = True
        self._listen(False)
        gevent.spawn(self._converse, said)
        return True

    def _listen(self, wanted: bool) -> None:
        transport = self.subscriber.transport
        if isinstance(transport, DetachedSocket):
            transport.listen(wanted)
        elif self.before is not None:
            self.before(wanted)

    def _converse(self, said: bytes) -> None:
        go_on(self.subscriber.request)
        OWNER.set(f"user:{self.subscriber.owner}")  # as Identity.owner
        try:
            for message in self._messages(said):
                self._take(message)
        except (Refused, ParseFailed) as error:
            self._refuse(websocket.close(error.code, str(error)))
        except Exception:
            logger.exception("a connection is cut because of an error of the service")
            self._lifetimes.end(self.subscriber, Reason.BROKEN)
        finally:
            self.busy = False
            if self.subscriber.reason is None:
                self._listen(True)

    def _messages(self, said: bytes) -> Iterator[bytes]:
        """The messages that are complete with these bytes. Raises ParseFailed, or Refused."""
        parser = self._parser = self._parser or _Parser()
        parser.receive_bytes(said)
        turn = SharedSlice()
        for frame in parser.received_frames():
            turn.yield_if_over()
            if self.subscriber.reason is not None:
                return
            if frame.opcode.iscontrol():
                self._control(frame)
            elif self._add(frame):
                message, self._message = self._message, None
                yield bytes(message or b"")
        if parser.idle:
            self._parser = None

    def _control(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            self._lifetimes.say(self.subscriber, websocket.pong(_bytes(frame)))
        elif isinstance(frame.payload, tuple):  # of a close frame: it is answered by its own code
            self._lifetimes.end(self.subscriber, Reason.GONE, websocket.close(*frame.payload))

    def _add(self, frame: Frame) -> bool:
        """Add a piece to the message. True: it is complete. Raises Refused."""
        piece = _bytes(frame)
        if self._message is None:
            self._message = bytearray()
        if len(self._message) + len(piece) > self._most:
            raise Refused(websocket.TOO_LARGE, f"A message may be of {self._most} bytes.")
        self._message += piece
        return frame.message_finished

    def _refuse(self, farewell: bytes) -> None:
        transport, rest = self.subscriber.transport, -1
        if isinstance(transport, DetachedSocket) and transport.fd >= 0 and transport.drained:
            rest = os.dup(transport.fd)
        self._lifetimes.end(self.subscriber, Reason.MALFORMED, farewell)
        if rest >= 0:
            linger(rest)


def _bytes(frame: Frame) -> bytes:
    return frame.payload.encode() if isinstance(frame.payload, str) else bytes(frame.payload)  # type: ignore[arg-type]
