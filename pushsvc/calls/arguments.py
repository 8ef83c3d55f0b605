"""Reads a request's body and parameters. An error names the field or parameter that is wrong."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from gunicorn.http.errors import ParseException

from pushsvc.calls.call import Call, cut_off, too_large
from pushsvc.calls.content_coding import decoded
from pushsvc.delivery.subscriber import COMMENT, HEARTBEAT_EVENT
from pushsvc.errors import Invalid, TooLarge, UnsupportedMedia
from pushsvc.events import exact_json, structure
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import EventId
from pushsvc.events.exact_json import NotJson
from pushsvc.events.names import printable
from pushsvc.storage import cursor
from pushsvc.storage.cursor import Cursor
from pushsvc.storage.redis.keys import Keys

LONG_BYTES: Final = 65536  # of a body for which a request waits until there is room
MOST_VALUES: Final = 2000  # in a JSON object with a few fields


@contextlib.contextmanager
def json_body(call: Call, most: int, owner: str, copies: int = 1) -> Iterator[bytes]:
    """Read the body of a request as `whole_body` does, and decode it. The media type must be JSON's, because a form on
    another site's page cannot send that (CSRF). Raises UnsupportedMedia, too."""
    if call.media_type != "application/json":
        raise UnsupportedMedia("Content-Type: must be application/json.")
    codings = call.header("content-encoding")
    with whole_body(call, most, owner, copies) as body:
        yield body if codings is None else decoded(body, codings, most)


@contextlib.contextmanager
def whole_body(call: Call, most: int, owner: str, copies: int = 1) -> Iterator[bytes]:
    """Read the body of a request as it was sent, of at most so many bytes. A long one has room in the worker, as its
    owner's, for so many copies, while the block runs. Raises TooLarge, Invalid, RequestTimeout, or Unavailable if there
    is no room."""
    codings, length, begun = call.header("content-encoding"), call.content_length, b""
    if length is not None and length > most:
        raise too_large(most)
    with _failures_are_told():
        if length is None and codings is None:
            begun = call.body.read(LONG_BYTES + 1)  # most bodies in chunks are short
            length = len(begun) if len(begun) <= LONG_BYTES else None
    size = most if codings or length is None else length
    with call.service.room.holding(copies * size, owner) if size > LONG_BYTES else contextlib.nullcontext():
        with _failures_are_told():
            body = call.read(most, begun)
        yield body


@contextlib.contextmanager
def _failures_are_told() -> Iterator[None]:
    try:
        yield
    except (OSError, ParseException) as error:
        raise cut_off(error) from error


def read_json(load: Callable[[bytes], Any], body: bytes, values: int, what: str = "body") -> Any:
    """Parse a body, or `what` else it is, of at most so many values, with one of `exact_json`'s readers. Raises
    TooLarge, or Invalid, which tells the place of the error."""
    try:
        if len(body) > 2 * values:  # each takes two bytes
            structure.check(body, depth=len(body), values=values)
        return load(body)
    except structure.TooMany as error:
        raise TooLarge(f"The {what} holds more than {values} values.") from error
    except NotJson as error:
        raise Invalid(f"The {what} is not valid JSON: {error}") from error


def json_object(call: Call, fields: set[str], most: int, owner: str) -> dict[str, Any]:
    """Read a small JSON object that has no other fields than these. Raises as `json_body` does."""
    with json_body(call, most, owner) as raw:
        body = read_json(partial(exact_json.loads, unique=True), raw, MOST_VALUES)
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    for field in body:
        if field not in fields:
            raise Invalid.field(printable(field), "is not a field here.")
    return body


def check_query(query: str) -> None:
    """Check that the query has not too many parameters, and is UTF-8; decoded with errors, it could name another
    channel than was meant. Raises Invalid."""
    if query.count("&") >= MOST_PARAMETERS:  # a query of 128 KB could have 64 000, and strangers send it
        raise Invalid(f"The query has more than {MOST_PARAMETERS} parameters.")
    if "%" in query:
        try:
            unquote_to_bytes(query.encode("latin-1")).decode()
        except UnicodeDecodeError as error:
            raise Invalid("The query is not valid UTF-8, percent-encoded.") from error


PARAMETERS: Final = (
    "ticket",
    "topics",
    "since",
    "ack",
    "heartbeat",
    "resume",
    "wait",
    *cursor.PARAMETERS,
)  # of a stream
_NEAR_MISSES: Final = {
    "topic": "topics", "channel": "topics", "channels": "topics", "cursor": "last_event_id", "after": "last_event_id",
    "event_id": "last_event_id", "last_id": "last_event_id", "tickets": "ticket", "acks": "ack",
}  # fmt: skip
MOST_PARAMETERS: Final = 200  # of any request; a stream may name each of its topics in one
_MOST_GUESSES: Final = 10  # for each a tenth of a millisecond goes
_LONGEST_GUESS: Final = 32  # characters
_SHORTEST_GUESS: Final = 5  # characters; shorter names, such as those that polyfills add, resemble ours by chance


def stream_parameters(call: Call) -> None:
    """Check the names of a stream's parameters. Unknown names are ignored, because polyfills and caches add some. Names
    that look like a misspelling of ours are refused: the page would wait for events that never come. Raises Invalid."""
    unknown = [name for name in call.args if name not in PARAMETERS and len(name) <= _LONGEST_GUESS]
    for name in unknown[:_MOST_GUESSES]:
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
