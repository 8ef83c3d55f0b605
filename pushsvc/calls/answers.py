"""The answer to a call: a whole response, or a stream."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import orjson

from pushsvc.errors import PushError, as_openai

logger = logging.getLogger(__name__)

Headers = list[tuple[str, str]]


class Answer(NamedTuple):
    """A whole response. Its length is added by whoever writes it, and so may be other headers."""

    status: int
    headers: Headers
    body: bytes = b""


class Stream(NamedTuple):
    """A response that goes on. `pieces`: its bytes, as they come; it may raise HandOver. `close` must be called when
    the response ends for any reason, also if its first piece was never taken."""

    headers: Headers
    pieces: Iterator[bytes]
    close: Callable[[], None]
    status: int = 200


class Upgrade(NamedTuple):
    """A response after which the connection is a WebSocket. `pieces`, `close`: see Stream; the pieces are frames."""

    headers: Headers
    pieces: Iterator[bytes]
    close: Callable[[], None]
    status: int = 101


def json_answer(value: Any) -> Answer:
    """An answer in JSON, which ends with a line break."""
    return Answer(200, [("Content-Type", "application/json")], orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))


def refusal(error: PushError, path: str) -> Answer:
    """The answer to a call that is refused: a problem document (RFC 9457)."""
    return problem_answer(error.problem(), error.status, error.headers, path)


def bug(method: str, path: str) -> Answer:
    """The answer to a call in which the service made an error. The exception that is being handled is logged."""
    logger.exception("bug in %s %r", method, path)  # %r: a path may hold line breaks
    return problem_answer(PushError("The service made an error; it was logged.").problem(), 500, {}, path)


def problem_answer(problem: dict[str, object], status: int, headers: dict[str, str], path: str) -> Answer:
    """Answer with a problem document, or as clients of OpenAI's API expect errors, by the call's path. It tells nothing
    about the service's inside."""
    openai = is_openai(path)
    body = orjson.dumps(as_openai(problem, status) if openai else problem)
    kind = "application/json" if openai else "application/problem+json"
    return Answer(status, [*headers.items(), ("Content-Type", kind), ("Cache-Control", "no-store")], body)


# The paths that clients of OpenAI's API ask for if their base URL is set slightly wrong.
_OPENAI: Final = re.compile("/v1(/|$)|/openai/|.*/chat/completions/?$|/models$")


def is_openai(path: str) -> bool:
    """Whether the client is one of OpenAI's API."""
    return _OPENAI.match(path) is not None
