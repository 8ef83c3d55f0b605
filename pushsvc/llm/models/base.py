"""The contracts between a model and its caller: the model, a call to it, and the handler of its response."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Final, NamedTuple, Protocol

# Headers that this service itself reads.
_READ: Final = frozenset({"content-type", "content-encoding", "location", "x-litellm-version"})
# Those that are passed on.
_PASSED: Final = frozenset({"x-request-id", "request-id", "retry-after", "retry-after-ms", "x-should-retry"})
_PASSED_PREFIXES: Final = ("x-ratelimit-", "openai-", "anthropic-ratelimit-")
_MOST_PASSED: Final = 40
QUEUED: Final = "x-pushsvc-queued"  # in a head of ours, which is no server's: the question waits in a queue
_MOST_PASSED_BYTES: Final = 2560  # nginx has a buffer of 4 KB for the head of a response, and refuses a longer one
_VALUE: Final = re.compile("[ -~]{1,512}")  # no line break, which would end the header


def matters(name: str) -> bool:
    """Whether a header of a response is kept. `name`: in lower case."""
    return name in _READ or name in _PASSED or name.startswith(_PASSED_PREFIXES)


def passing(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are passed on to the client: the request's id, rate limits, and when to retry."""
    found, room = {}, _MOST_PASSED_BYTES
    for name, value in sorted(headers.items(), key=lambda header: header[0] not in _PASSED):
        if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and _VALUE.fullmatch(value):
            size = len(f"{name}: {value}\r\n")
            if size <= room:
                found[name] = value
                room -= size
    return dict(islice(found.items(), _MOST_PASSED))


def media_type(headers: Mapping[str, str], body: bytes) -> str:
    """The media type of a refusal: the one that the server names, if it is valid, else a guess from the body."""
    said = headers.get("content-type", "")
    if _VALUE.fullmatch(said):
        return said
    return "application/json" if body.lstrip().startswith(b"{") else "text/plain; charset=utf-8"


class Fault(Exception):
    """The server cannot be reached, or violates HTTP. `code`: for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ResponseHandler(Protocol):
    """Takes the response of a model's server. No method is called after `complete` or `failed`, or after
    `Call.close`."""

    def began(self, status: int, headers: dict[str, str]) -> None:
        """Take the status, and the headers for which `matters` is true."""

    def heard(self, body: bytes) -> None:
        """Take a piece of the body."""

    def complete(self) -> None:
        """Take note that the body has ended properly."""

    def failed(self, fault: Fault) -> None:
        """Take note that the response will not come, or not end properly."""


class Passed(NamedTuple):
    """A request that goes through as it is, by POST. `path`: under the base URL, with a slash before it; `query`:
    percent-encoded, may be empty; `headers`: those that go along, by name."""

    path: str
    query: str
    body: bytes
    headers: Mapping[str, str]


class Call(Protocol):
    """A question that was asked, and whose response is being read."""

    def pause(self) -> None:
        """Stop reading the response for a while, because what was read cannot be written yet."""

    def resume(self) -> None:
        """Read the response again."""

    def release(self) -> None:
        """Tell the handler nothing more: the answer is complete, and the response is about to end."""

    def close(self) -> None:
        """Tell the handler nothing more, and close the connection at once. Harmless when repeated."""


class Model(Protocol):
    """Answers questions: an Upstream, or the Mock."""

    def ask(self, body: bytes, handler: ResponseHandler, headers: Mapping[str, str]) -> Call:
        """Ask a question. `body`: JSON in the schema of OpenAI's API (API reference, "Chat Completions"); `headers`: of
        this request alone."""

    def list(self, name: str | None, handler: ResponseHandler) -> Call:
        """Ask for the list of models, or for the description of the one of this name."""

    def pass_on(self, request: Passed, handler: ResponseHandler) -> Call:
        """Send another request as it is."""
