"""Events of a stream as `python -m pushsvc tail` prints them: dictionaries of their fields. Pure."""

from __future__ import annotations

from collections.abc import Iterator


def events(pieces: Iterator[str]) -> Iterator[dict[str, str]]:
    """Read events from a stream's text, which arrives in pieces of any size. Yields the fields of each by name."""
    event: dict[str, str] = {}
    for line in _lines(pieces):
        name, _, value = line.partition(": ")
        if name == "data" and "data" in event:
            event["data"] += "\n" + value
        elif name in ("id", "event", "data", "retry"):
            event[name] = value
        elif not line:
            yield event
            event = {}


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Split at LF, the service's only line end: httpx's `iter_lines` would also split data at U+2028 and others."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from lines
