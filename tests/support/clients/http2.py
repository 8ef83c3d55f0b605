"""HTTP/2 frame by frame, for clients that do what no browser does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from typing import Final

DATA, HEADERS, RESET, SETTINGS, GOAWAY = 0, 1, 3, 4, 7  # types of frames (RFC 9113 section 6)
END_STREAM, END_HEADERS = 1, 4
CANCEL: Final = 8  # an error
INITIAL_WINDOW: Final = 4  # a setting
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(text: bytes) -> bytes:
    """A string of HPACK, not compressed (RFC 7541 section 5.2)."""
    size = len(text)
    if size < 127:
        return bytes([size]) + text
    rest, prefix = size - 127, b"\x7f"
    while rest >= 128:
        prefix, rest = prefix + bytes([rest % 128 + 128]), rest // 128
    return prefix + bytes([rest]) + text


def get(stream: int, path: str, fields: Mapping[str, str]) -> bytes:
    """The frame of a request without a body."""
    named = {":method": "GET", ":scheme": "https", ":path": path, ":authority": "localhost"} | dict(fields)
    block = b"".join(b"\0" + literal(name.encode()) + literal(value.encode()) for name, value in named.items())
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, block)


def reset(stream: int) -> bytes:
    """The frame by which a client takes a request back."""
    return frame(RESET, 0, stream, struct.pack(">I", CANCEL))


@contextlib.contextmanager
def connected(address: str, window: int | None = None) -> Iterator[ssl.SSLSocket]:
    """A connection over TLS, whose client has said its settings. `window`: bytes that it takes of each stream."""
    host, port = address.split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port)), timeout=40) as plain, context.wrap_socket(plain) as client:
        assert client.selected_alpn_protocol() == "h2"
        settings = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW, window)
        client.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
        yield client


def frames(client: ssl.SSLSocket) -> Iterator[tuple[int, int, int, bytes]]:
    """Each frame that comes, until the connection ends: its type, flags and stream, and what it holds."""
    with client.makefile("rb") as file, contextlib.suppress(ConnectionError, ssl.SSLError):
        while len(head := file.read(9)) == 9:
            payload = file.read(int.from_bytes(head[:3], "big"))
            yield head[3], head[4], int.from_bytes(head[5:], "big"), payload
