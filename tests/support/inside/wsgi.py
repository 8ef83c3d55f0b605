"""Small WSGI applications beside the service, under /tested/NAME, each checked by PEP 3333's validator.

Copied beside a copy of app.py as tested.py; only the standard library is imported.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

TEXT = ("Content-Type", "text/plain")
NOTED: list[str] = []  # what happened since it was last asked
SIZE = 3_000_000
FILE = Path(__file__).with_name("file")

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
Application = Callable[[Environ, Start], Iterable[bytes]]


def noted(environ: Environ, start: Start) -> Iterable[bytes]:
    taken, NOTED[:] = NOTED[:], []
    start("200 OK", [TEXT])
    return [json.dumps(taken).encode()]


def environment(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [TEXT])
    kinds = {name: type(value).__name__ for name, value in environ.items()}
    texts = {name: value for name, value in environ.items() if isinstance(value, str | bool | tuple)}
    return [json.dumps({"values": texts, "kinds": kinds}).encode()]


def twice(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [TEXT])
    try:
        start("201 Created", [TEXT])
    except AssertionError:
        return [b"refused"]
    return [b"taken"]


def replaced(environ: Environ, start: Start) -> Iterable[bytes]:
    """The headers have not been sent, so an error may take their place."""
    start("200 OK", [TEXT, ("X-First", "1")])
    try:
        raise ValueError("a mistake")
    except ValueError:
        start("500 Mistake", [TEXT, ("X-Second", "2")], sys.exc_info())
    return [b"replaced"]


def replaced_behind_nothing(environ: Environ, start: Start) -> Iterator[bytes]:
    """An empty string sends no headers."""
    start("200 OK", [TEXT])
    yield b""
    try:
        raise ValueError("a mistake")
    except ValueError:
        start("500 Mistake", [TEXT], sys.exc_info())
    yield b"replaced"


def replaced_late(environ: Environ, start: Start) -> Iterator[bytes]:
    """The headers have been sent: the error is raised again, and the response is cut."""
    start("200 OK", [TEXT])
    yield b"begun"
    try:
        raise ValueError("a mistake")
    except ValueError:
        start("500 Mistake", [TEXT], sys.exc_info())
    yield b"never"


def written(environ: Environ, start: Start) -> Iterable[bytes]:
    write = start("200 OK", [TEXT])
    write(b"one ")
    write(b"two ")
    return [b"three"]


class Closing:
    """An iterable that notes its end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def __iter__(self) -> Closing:
        return self

    def __next__(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        NOTED.append("closed")


def closing(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [TEXT])
    return Closing([b"one ", b"two"])


def endless(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [TEXT])
    return Closing(b"x" * 65536 for _ in range(10**9))


def broken(environ: Environ, start: Start) -> Iterable[bytes]:
    def pieces() -> Iterator[bytes]:
        yield b"begun"
        raise ValueError("a mistake in the middle")

    length = [("Content-Length", "50")] if environ["QUERY_STRING"] == "length" else []
    start("200 OK", [TEXT, *length])
    return Closing(pieces())


def broken_at_once(environ: Environ, start: Start) -> Iterable[bytes]:
    raise ValueError("a mistake before the start")


def never_started(environ: Environ, start: Start) -> Iterable[bytes]:
    return [b"without a status"]


def bad_header(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [TEXT, ("X-A", "b\r\nX-Injected: c")])
    return [b"never"]


def short(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [TEXT, ("Content-Length", "10")])
    return [b"short"]


def long(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [TEXT, ("Content-Length", "7")])
    return [b"longer", b" than", b" it says"]


def unknown_length(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [TEXT])
    return [b"one ", b"", b"two"]


def of_status(environ: Environ, start: Start) -> Iterable[bytes]:
    """Give a body even where there is none, as in an answer to HEAD; the server drops it."""
    status = environ["QUERY_STRING"]
    start(f"{status} Word", [] if status in ("204", "304") else [TEXT])
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" or status in ("204", "304") else [b"a body"]


def file(environ: Environ, start: Start) -> Iterable[bytes]:
    """`QUERY_STRING`: length, part, memory, behind, or nothing."""
    how = environ["QUERY_STRING"]
    opened: Any = io.BytesIO(b"in memory") if how == "memory" else FILE.open("rb")
    lengths = {"length": SIZE, "part": 1000}
    if how == "behind":
        opened.seek(SIZE - 10)
    start("200 OK", [TEXT, *([("Content-Length", str(lengths[how]))] if how in lengths else [])])
    pieces: Iterable[bytes] = environ["wsgi.file_wrapper"](opened, 8192)
    return pieces


def body(environ: Environ, start: Start) -> Iterable[bytes]:
    """Read in the way that `QUERY_STRING` says; what is read is told, piece by piece."""
    read = environ["wsgi.input"]
    ways: dict[str, Callable[[], list[bytes]]] = {
        "read": lambda: [read.read(10**9), read.read(1), read.read(1)],
        "small": lambda: list(iter(lambda: read.read(3), b"")),
        "readline": lambda: list(iter(read.readline, b"")),
        "shortline": lambda: list(iter(lambda: read.readline(3), b"")),
        "iteration": lambda: list(read),
        "readlines": lambda: list(read.readlines()),
        "mixed": lambda: [read.readline(), read.read(4), read.readline(), *read],
        "nothing": list,
    }
    told = [piece.decode("latin-1") for piece in ways[environ["QUERY_STRING"]]()]
    start("200 OK", [TEXT])
    return [json.dumps(told).encode()]


def waiting(environ: Environ, start: Start) -> Iterable[bytes]:
    """Answers when the file `go` is there."""
    NOTED.append("waiting")
    while not FILE.with_name("go").exists():
        time.sleep(0.05)
    start("200 OK", [TEXT])
    return [b"gone"]


def stuck(environ: Environ, start: Start) -> Iterable[bytes]:
    """Lets nobody else have a turn, and does not come back."""
    while True:
        pass


UNCHECKED: tuple[Application, ...] = (file, never_started, bad_header)  # the validator hides what is tested there
CHECKED: tuple[Application, ...] = (
    noted, waiting, stuck, environment, twice, replaced, replaced_behind_nothing, replaced_late, written, closing,
    endless, broken, broken_at_once, short, long, unknown_length, of_status, body,
)  # fmt: skip
APPLICATIONS: dict[str, Application] = {each.__name__: validator(each) for each in CHECKED} | {
    each.__name__: each for each in UNCHECKED
}


def mount(service: Any) -> None:
    """Serve them beside the service, before anything of it sees the request."""
    FILE.write_bytes(os.urandom(1000) * (SIZE // 1000))
    inner: Application = service.wsgi_app

    def dispatch(environ: Environ, start: Start) -> Iterable[bytes]:
        name = environ["PATH_INFO"].removeprefix("/tested/")
        if name == environ["PATH_INFO"]:
            return inner(environ, start)
        return APPLICATIONS[name](environ, start)

    service.wsgi_app = dispatch
