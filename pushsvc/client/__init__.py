"""The client of pushsvc: publish to it, and listen, from any Python program.

It needs the standard library alone; importing it loads no Flask, gevent, Redis or asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pushsvc.client.cursors import Cursor, FileCursor, MemoryCursor, RedisCursor
from pushsvc.client.errors import AnswerError, ClientError, GapError, ListenError, PublishError, QueueFull, ServiceError
from pushsvc.client.listener import Listener
from pushsvc.client.publisher import Publisher
from pushsvc.client.results import Event, Gap, Receipt, Ticket
from pushsvc.client.streams.stream import PublishStream

if TYPE_CHECKING:
    from pushsvc.client.answers import Answer, Answers
    from pushsvc.client.asynchronous import AsyncListener, AsyncPublisher, AsyncStream

__all__ = [
    "Answer", "AnswerError", "Answers", "AsyncListener", "AsyncPublisher", "AsyncStream", "ClientError", "Cursor",
    "Event", "FileCursor", "Gap", "GapError", "ListenError", "Listener", "MemoryCursor", "PublishError",
    "PublishStream", "Publisher", "QueueFull", "Receipt", "RedisCursor", "ServiceError", "Ticket",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load with the first name that needs it what most programs do not: asyncio takes longer than all the rest."""
    if name in ("AsyncListener", "AsyncPublisher", "AsyncStream"):
        from pushsvc.client import asynchronous

        return getattr(asynchronous, name)
    if name in ("Answer", "Answers"):
        from pushsvc.client import answers

        return getattr(answers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
