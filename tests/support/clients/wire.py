"""HTTP/1 on a plain socket: requests are any bytes, and responses are read strictly (RFC 9112)."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

import orjson

from tests.support.clients.eventsource import DEADLINE

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [^\r\n]*\r\n")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\x00]*?)[ \t]*\r\n")


class Answer(NamedTuple):
    """`fields`: by their names in lower case; `whole`: the body came to the end that the head names."""

    status: int
    fields: dict[str, str]
    body: bytes
    whole: bool = True

    @property
    def is_problem(self) -> bool:
        """Whether it is a whole problem document (RFC 9457)."""
        named = self.fields.get("content-type") == "application/problem+json"
        return named and self.whole and bool(orjson.loads(self.body)["status"] == self.status >= 400)


class Wire:
    """A client's connection."""

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self._file = client.makefile("rb")

    def send(self, *pieces: bytes) -> None:
        """Send as much as the server takes: it may close before the end, and its answer is read all the same."""
        with suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                self.socket.sendall(piece)

    def close(self) -> None:
        """Let go of the socket, which whoever made it closes."""
        self._file.close()

    def end(self) -> None:
        """Send no more."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def answer(self, method: str = "GET", until: bytes = b"") -> Answer | None:
        """The next response; of one in chunks, only up to the chunk with the bytes `until`, if it has them. None: the
        server has closed the connection, before its first byte."""
        try:
            return read_answer(self._file, method, until)
        except ConnectionResetError:
            return None

    def answers(self) -> list[Answer]:
        """All responses up to the end of the connection."""
        return list(iter(self.answer, None))

    @property
    def closed(self) -> bool:
        """Whether the server closes without another byte; waits for that."""
        try:
            return not self._file.read(1)
        except ConnectionResetError:
            return True


def read_answer(file: BinaryIO, method: str = "GET", until: bytes = b"") -> Answer | None:
    """Read a response to a request of that method, as Wire.answer does. None: nothing follows. Raises AssertionError if
    it is malformed."""
    line = file.readline()
    if not line:
        return None
    found = _STATUS.fullmatch(line)
    assert found is not None, line
    status, fields = int(found[1]), _fields(file)
    assert not {"content-length", "transfer-encoding"} <= fields.keys(), fields
    if method == "HEAD" or status < 200 or status in (204, 304):
        return Answer(status, fields, b"")
    return Answer(status, fields, *_body(file, fields, until))


def _fields(file: BinaryIO) -> dict[str, str]:
    fields: dict[str, str] = {}
    while (line := file.readline()) != b"\r\n":
        found = _FIELD.fullmatch(line)
        assert found is not None, line
        name = found[1].decode().lower()
        assert name not in fields or name in ("vary", "set-cookie"), line
        fields[name] = found[2].decode("latin-1")
    return fields


def _body(file: BinaryIO, fields: dict[str, str], until: bytes) -> tuple[bytes, bool]:
    if "transfer-encoding" in fields:
        assert fields["transfer-encoding"] == "chunked"
        return _chunks(file, until)
    length = int(fields.get("content-length", -1))
    body = file.read(length)
    return body, length < 0 or len(body) == length


def _chunks(file: BinaryIO, until: bytes) -> tuple[bytes, bool]:
    body = b""
    while line := file.readline():
        size = int(line, 16)
        assert line.lower() == b"%x\r\n" % size, line
        piece = file.read(size + 2)
        body += piece[:size]
        if len(piece) < size + 2:
            break
        assert piece.endswith(b"\r\n"), piece
        if until and until in body:
            break
        if not size:
            return body, True
    return body, False


@contextmanager
def wire(url: str) -> Iterator[Wire]:
    """Connect to `http://host:port`."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as client:
        made = Wire(client)
        try:
            yield made
        finally:
            made.close()


def request(line: str, *fields: str, body: bytes = b"") -> bytes:
    """An ordinary request: `line` is the request line without the version; a body gets its length."""
    lines = [f"{line} HTTP/1.1", "Host: x", *fields, *([f"Content-Length: {len(body)}"] if body else []), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
