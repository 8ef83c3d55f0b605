"""A client of WebSockets over wsproto, which can also send what no good client sends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

from wsproto.frame_protocol import Frame, FrameProtocol, Opcode

from tests.support.clients.eventsource import DEADLINE

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ACCEPTED = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """Any frame, also a wrong one."""
    size, mask = len(payload), os.urandom(4) if masked else b""
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 2**16:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    return head + mask + (_masked(payload, mask) if masked else payload)


def _masked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def text(message: object) -> bytes:
    return frame(Opcode.TEXT, message if isinstance(message, bytes) else json.dumps(message).encode())


class WebSocket:
    """Listens in a thread. `messages`: what came down, parsed; `closed`: the close frame, (code, reason), or None."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        *,
        early: bytes = b"",
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """`early`: sent together with the handshake; `trust`: of a server with TLS."""
        self.messages: list[dict[str, Any]] = []
        self.frames: list[Frame] = []
        self.closed: tuple[int, str] | None = None
        self.over = False
        self._changed = threading.Condition()
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 80), DEADLINE)
        if trust is not None:
            self.socket = trust.wrap_socket(self.socket, server_hostname="localhost")
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        fields = {"Host": parts.netloc, **HANDSHAKE, **(headers or {})}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
        self.socket.sendall("\r\n".join(lines).encode() + early)
        self.status, self.headers, self.rest = self._read_head()
        self.body = b""
        self._parser = FrameProtocol(client=True, extensions=[])
        if self.status == 101:
            self.socket.settimeout(None)
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        else:
            length = int(self.headers.get("content-length", 0))
            self.body = self.rest
            while len(self.body) < length and (piece := self.socket.recv(65536)):
                self.body += piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_head(self) -> tuple[int, dict[str, str], bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = self.socket.recv(65536)
            assert piece, f"the connection ended within the head: {received!r}"
            received += piece
        head, _, rest = received.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        named = (field.partition(":") for field in fields)
        return int(line.split()[1]), {name.lower(): value.strip() for name, _, value in named}, rest

    def _run(self) -> None:
        piece = self.rest
        try:
            while True:
                if piece:
                    self._parser.receive_bytes(piece)
                    with self._changed:
                        for each in self._parser.received_frames():
                            self._take(each)
                        self._changed.notify_all()
                piece = self.socket.recv(65536)
                if not piece:
                    break
        except OSError:
            pass
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def _take(self, each: Frame) -> None:
        self.frames.append(each)
        if each.opcode is Opcode.TEXT:
            self._text = getattr(self, "_text", "") + str(each.payload)
            if each.message_finished:
                self.messages.append(json.loads(self._text))
                self._text = ""
        elif each.opcode is Opcode.CLOSE:
            assert isinstance(each.payload, tuple)
            self.closed = int(each.payload[0]), each.payload[1]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def send(self, message: object) -> None:
        self.socket.sendall(text(message))

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message, found by its ref."""
        ref = f"r{id(message)}-{len(self.messages)}"
        self.send({**message, "ref": ref})
        self.wait(lambda it: it.answer(ref), f"an answer to {message}")
        return self.answer(ref) or {}

    def answer(self, ref: str) -> dict[str, Any] | None:
        return next((each for each in self.messages if each.get("ref") == ref), None)

    def wait(self, condition: Callable[[Self], object], what: str = "the condition") -> Self:
        with self._changed:
            held = self._changed.wait_for(lambda: condition(self), DEADLINE)
        assert held, f"waited in vain for {what}; closed {self.closed}, over {self.over}, {self.messages[-10:]}"
        return self

    def wait_ids(self, *ids: str) -> Self:
        return self.wait(lambda it: set(ids) <= set(it.ids), f"the events {ids}")

    def wait_closed(self, code: int) -> str:
        """The reason, once it was closed with this code."""
        self.wait(lambda it: it.over, "the end")
        assert self.closed is not None, self.messages
        assert self.closed[0] == code, self.closed
        return self.closed[1]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [each for each in self.messages if "channel" in each]

    @property
    def ids(self) -> list[str]:
        return [each["id"] for each in self.events]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.messages if each.get("type") == kind]
