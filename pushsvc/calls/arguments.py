"""Reads a request's body and parameters. An error names the field or parameter that is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import gevent
from gunicorn.http.errors import ParseException

from pushsvc.calls.call import CUT_OFF, MAX_BODY_BYTES, Call
from pushsvc.calls.content_coding import decoded
from pushsvc.delivery.subscriber import COMMENT, HEARTBEAT_EVENT
from pushsvc.errors import Invalid, UnsupportedMedia
from pushsvc.events import exact_json
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import EventId
from pushsvc.events.exact_json import NotJson
from pushsvc.events.names import printable
from pushsvc.storage import cursor
from pushsvc.storage.cursor import Cursor
from pushsvc.storage.redis.keys import Keys

SMALL_BODY_BYTES: Final = 320_000  # fits the largest number of topics, each in its longest form in JSON

LONG_BYTES: Final = 262144  # of a body that is parsed in a thread


def json_body(call: Call, most: int = MAX_BODY_BYTES) -> bytes:
    """Read the body of a request, of at most so many bytes. The media type must be JSON's, because a form on another
    site's page cannot send that (CSRF). Raises UnsupportedMedia, TooLarge or Invalid."""
    if call.media_type != "application/json":
        raise UnsupportedMedia("Content-Type: must be application/json.")
    try:
        body = call.read(most)
    except (OSError, ParseException) as error:
        raise Invalid(CUT_OFF) from error
    codings = call.header("content-encoding")
    return body if codings is None else decoded(body, codings, most)


def read_json(load: Callable[[bytes], Any], body: bytes, what: str = "body") -> Any:
    """Parse a body, or `what` else it is, with one of `exact_json`'s readers. A long body is parsed in a thread, so
    that other requests do not wait. Raises Invalid, which tells the place of the error."""
    work = partial(_tried, load, body)
    value, error = work() if len(body) < LONG_BYTES else gevent.get_hub().threadpool.apply(work)
    if error is not None:
        raise Invalid(f"The {what} is not valid JSON: {error}") from error
    return value


def _tried(load: Callable[[bytes], Any], body: bytes) -> tuple[Any, NotJson | None]:
    """The value, or the error: gevent prints a traceback of what is raised in a thread."""
    try:
        return load(body), None
    except NotJson as error:
        return None, error


def json_object(call: Call, fields: set[str]) -> dict[str, Any]:
    """Read a small JSON object that has no other fields than these. Raises as `json_body` does."""
    # Small, because any user may send one, and parsing takes many times its size.
    body = read_json(partial(exact_json.loads, unique=True), json_body(call, SMALL_BODY_BYTES))
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    for field in body:
        if field not in fields:
            raise Invalid.field(printable(field), "is not a field here.")
    return body


def check_query(query: str) -> None:
    """Check that the query is UTF-8; decoded with errors, it could name another channel than was meant. Raises
    Invalid."""
    if "%" in query:
        try:
            unquote_to_bytes(query.encode("latin-1")).decode()
        except UnicodeDecodeError as error:
            raise Invalid("The query is not valid UTF-8, percent-encoded.") from error


PARAMETERS: Final = ("ticket", "topics", "since", "ack", "heartbeat", "resume", *cursor.PARAMETERS)  # of a stream
_NEAR_MISSES: Final = {
    "topic": "topics", "channel": "topics", "channels": "topics", "cursor": "last_event_id", "after": "last_event_id",
    "event_id": "last_event_id", "last_id": "last_event_id", "tickets": "ticket", "acks": "ack",
}  # fmt: skip
_SHORTEST_GUESS: Final = 5  # characters; shorter names, such as those that polyfills add, resemble ours by chance


def stream_parameters(call: Call) -> None:
    """Check the names of a stream's parameters. Unknown names are ignored, because polyfills and caches add some. Names
    that look like a misspelling of ours are refused: the page would wait for events that never come. Raises Invalid."""
    for name in call.args:
        if name in PARAMETERS:
            continue
        plain = name.lower().replace("-", "_")
        guesses = difflib.get_close_matches(plain, PARAMETERS, 1, 0.8) if len(plain) >= _SHORTEST_GUESS else []
        meant = plain if plain in PARAMETERS else _NEAR_MISSES.get(plain) or next(iter(guesses), None)
        if meant is not None:
            raise Invalid.field(name[:80], f"is no parameter here; {meant} is.")


def stream_cursor(call: Call, keys: Keys) -> Cursor:
    """Read the cursor from which the client of a stream resumes. `keys`: of the partition that has the stream. Raises
    Invalid."""
    parameters = [(name, value) for name in cursor.PARAMETERS for value in call.args.getlist(name)]
    return cursor.read_cursor(call.header("last-event-id"), parameters, keys)


def stream_heartbeat(call: Call) -> EncodedBatch:
    """The heartbeat that the client of a stream wants: a comment, which no page sees, or an event. Raises Invalid."""
    return HEARTBEAT_EVENT if choice(call, "heartbeat", ("comment", "event")) == "event" else COMMENT


def choice(call: Call, name: str, choices: tuple[str, ...]) -> str:
    """Read a parameter that is one of a few words; the first is the default. Raises Invalid."""
    value = call.args.get(name, choices[0])
    if value not in choices:
        raise Invalid.field(name, f"must be one of {', '.join(choices)}.")
    return value


def number(call: Call, name: str, default: int, least: int, most: int) -> int:
    """Read a parameter that is a whole number within bounds. Raises Invalid."""
    value = call.args.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 10 and least <= int(value) <= most):
        raise Invalid.field(name, f"must be a whole number from {least} to {most}.")
    return int(value)


def id_argument(call: Call, name: str, keys: Keys) -> EventId | None:
    """Read a parameter that is an event id. `keys`: of the partition that the request is for. Raises Invalid."""
    value = call.args.get(name)
    return cursor.read_cursor(None, [(name, value)], keys).id if value else None
