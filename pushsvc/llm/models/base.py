"""The contracts between models and those who ask them: a model, a call to it, and the handler of its response."""

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
    """The headers that are passed on to the client: how often it may ask, when again, and the request's id."""
    found, room = {}, _MOST_PASSED_BYTES
    for name, value in sorted(headers.items(), key=lambda header: header[0] not in _PASSED):
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and _VALUE.fullmatch(value):
            size = len(f"{name}: {value}\r\n")
            if size <= room:
                found[name] = value
                room -= size
    return dict(islice(found.items(), _MOST_PASSED))


def media_type(headers: Mapping[str, str], body: bytes) -> str:
    """The media type of a refusal: as the server names it, if that can be repeated; else what the body looks like."""
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
    """Gets the response of a model's server. Nothing comes after `complete` or `failed`, or once the call is closed."""

    def began(self, status: int, headers: dict[str, str]) -> None:
        """The head came, with the headers that matter here."""

    def heard(self, body: bytes) -> None:
        """A piece of the body came."""

    def complete(self) -> None:
        """The body has ended as it should."""

    def failed(self, fault: Fault) -> None:
        """The response will not come, or not end as it should."""


class Call(Protocol):
    """A question that was asked."""

    def pause(self) -> None:
        """Hear nothing for a while: what was heard cannot be put anywhere."""

    def resume(self) -> None:
        """Hear again."""

    def release(self) -> None:
        """Hear nothing more: all was said, and the response is about to end."""

    def close(self) -> None:
        """Hear nothing more, and let the server know at once. Harmless when repeated."""


class Model(Protocol):
    """Answers questions: an Upstream, or the Mock."""

    def ask(self, body: bytes, handler: ResponseHandler) -> Call:
        """Ask a question: `body` is JSON in the schema of OpenAI's chat completions."""

    def list(self, name: str | None, handler: ResponseHandler) -> Call:
        """Ask which models there are, or for the one of this name."""
