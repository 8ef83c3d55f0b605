"""What is told to who waits in a queue."""

from __future__ import annotations

from typing import Final

import orjson

from pushsvc.events import sse
from pushsvc.llm.models.base import QUEUED

HEAD: Final = {"content-type": "text/event-stream", QUEUED: ""}


def place(number: int) -> bytes:
    """The place in the queue, as a chunk without choices."""
    chunk = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": "", "choices": []}
    return sse.data_frame(orjson.dumps(chunk | {"queue": {"place": number}}))


def full() -> tuple[int, dict[str, str], list[bytes]]:
    """The status, headers and body of the refusal where too many wait."""
    error = {"message": "The model's queue is full; try again later.", "type": "rate_limit_error"}
    body = orjson.dumps({"error": error | {"code": "queue_full"}})
    return 429, {"content-type": "application/json", "retry-after": "5"}, [body]
