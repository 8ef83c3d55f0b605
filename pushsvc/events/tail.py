"""Events of a stream as `python -m pushsvc tail` prints them: dictionaries of their fields. Pure."""

from __future__ import annotations

from collections.abc import Iterator


def events(pieces: Iterator[str]) -> Iterator[dict[str, str]]:
    """Read events out of a stream's text, which comes in any pieces; each as its fields by name."""
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
    """The service ends lines with LF alone; httpx's `iter_lines` would also break the data at U+2028 and others."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from lines
