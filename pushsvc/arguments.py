"""Reads what a request brings; what is not as it should be is refused by name."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote_to_bytes

from flask import request
from gunicorn.http.errors import ParseException

from pushsvc import publishing
from pushsvc.errors import Invalid, UnsupportedMedia
from pushsvc.event import EventId
from pushsvc.keys import Keys

MAX_BODY_BYTES: Final = 64 * 2**20  # of any request; one batch of the usual size is far below
SMALL_BODY_BYTES: Final = 320_000  # as many topics as one may follow, their names as long as JSON can write them


def json_body() -> bytes:
    """The body of a request that says it is JSON: a type that no other site's form can send unasked."""
    if request.mimetype != "application/json":
        raise UnsupportedMedia("Content-Type: must be application/json.")
    try:
        return request.get_data(cache=False)
    except (OSError, ParseException) as error:
        raise Invalid("The body is cut off, or not the chunks it says it is.") from error


def json_object(fields: set[str]) -> dict[str, Any]:
    """A small JSON object with no other fields than these. Raises Invalid."""
    request.max_content_length = SMALL_BODY_BYTES  # any user may send one, and parsing takes many times its size
    body = publishing.parse_json(json_body())
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    for field in body:
        if field not in fields:
            raise Invalid.field(field, "is not a field here.")
    return body


def check_query() -> None:
    """Raises Invalid for bytes that are no UTF-8: read as something else, they would name what nobody meant."""
    if b"%" in request.query_string:
        try:
            unquote_to_bytes(request.query_string).decode()
        except UnicodeDecodeError as error:
            raise Invalid("The query is not valid UTF-8, percent-encoded.") from error


def choice(name: str, choices: tuple[str, ...]) -> str:
    """A parameter that is one of a few words; the first is the default."""
    value = request.args.get(name, choices[0])
    if value not in choices:
        raise Invalid.field(name, f"must be one of {', '.join(choices)}.")
    return value


def number(name: str, default: int, least: int, most: int) -> int:
    value = request.args.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 10 and least <= int(value) <= most):
        raise Invalid.field(name, f"must be a whole number from {least} to {most}.")
    return int(value)


def id_argument(name: str, keys: Keys) -> EventId | None:
    """`keys`: of the partition that it is for."""
    value = request.args.get(name)
    return EventId.parse(keys.own(value), name) if value else None
