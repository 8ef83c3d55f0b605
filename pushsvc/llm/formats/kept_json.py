"""JSON that is kept of a question or an answer, and may have megabytes."""

from __future__ import annotations

from typing import Final

from pushsvc.concurrency.shares import SharedSlice
from pushsvc.events import exact_json
from pushsvc.llm.formats.joining import Json

SHORT_BYTES: Final = 2**13  # that are parsed without waiting for a turn


def long_json(raw: bytes) -> Json:
    """The object that this is; parsed in its turn if it is long, as it cannot be parsed in pieces."""
    if len(raw) > SHORT_BYTES:
        SharedSlice().begin()
    found: Json = exact_json.loads(raw)
    return found
