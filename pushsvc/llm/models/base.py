"""Who answers questions, and who hears the answers: what an upstream, the mock and a generation know of each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Final, Protocol

_READ: Final = frozenset({"content-type", "content-encoding", "location"})  # headers of a response that matter here
_PASSED: Final = frozenset({"x-request-id", "retry-after", "retry-after-ms", "x-should-retry"})  # and to who asked
_PASSED_PREFIXES: Final = ("x-ratelimit-", "openai-")
_MOST_PASSED: Final = 40
_MOST_PASSED_BYTES: Final = 2560  # nginx has 4 KB for the head of an answer, and refuses one that is longer
_VALUE: Final = re.compile("[ -~]{1,512}")  # nothing that ends a header


def matters(name: str) -> bool:
    """Whether a header of a response, in small letters, is kept."""
    return name in _READ or name in _PASSED or name.startswith(_PASSED_PREFIXES)


def passing(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that concern who asked: how often one may ask, when again, and by what name the server knows it."""
    found, room = {}, _MOST_PASSED_BYTES
    for name, value in sorted(headers.items(), key=lambda header: header[0] not in _PASSED):
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and _VALUE.fullmatch(value):
            size = len(f"{name}: {value}\r\n")
            if size <= room:
                found[name] = value
                room -= size
    return dict(islice(found.items(), _MOST_PASSED))


def media_type(headers: Mapping[str, str], body: bytes) -> str:
    """Of a refusal: what the server says, if that can be said again; else what it looks like."""
    said = headers.get("content-type", "")
    if _VALUE.fullmatch(said):
        return said
    return "application/json" if body.lstrip().startswith(b"{") else "text/plain; charset=utf-8"


class Fault(Exception):
    """The server cannot be reached, or does not speak HTTP as it should. `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ResponseHandler(Protocol):
    """Who hears what an upstream answers. Nothing is heard after `complete` or `failed`, or once the call is closed."""

    def began(self, status: int, headers: dict[str, str]) -> None:
        """The head came, with those of the headers that matter here."""

    def heard(self, body: bytes) -> None:
        """A piece of the body."""

    def complete(self) -> None:
        """The body has ended as it should."""

    def failed(self, fault: Fault) -> None: ...


class Call(Protocol):
    """A question that was asked."""

    def pause(self) -> None:
        """Hear nothing for a while: what was heard cannot be put anywhere."""

    def resume(self) -> None: ...

    def release(self) -> None:
        """Hear nothing more: all was said, and the response is about to end."""

    def close(self) -> None:
        """Hear nothing more, and let the server know at once. Harmless when repeated."""


class Model(Protocol):
    """Who answers: an Upstream, or the Mock."""

    def ask(self, body: bytes, hearer: ResponseHandler) -> Call: ...

    def list(self, name: str | None, hearer: ResponseHandler) -> Call:
        """Ask which models there are, or after one of them."""
