"""Listeners of an answer: the client that asked for it, or any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import orjson

from pushsvc.auth import Identity
from pushsvc.delivery.endings import StreamKind, refused_event
from pushsvc.delivery.subscriber import COMMENT, Subscriber
from pushsvc.delivery.transports.base import Transport
from pushsvc.errors import PushError, as_openai
from pushsvc.events import sse
from pushsvc.events.encoded import EncodedBatch
from pushsvc.events.event import EventId
from pushsvc.events.names import answer_channel


def _error_event(refusal: PushError, retry_ms: int) -> bytes:  # noqa: ARG001  # it knows nothing of reconnecting
    return sse.data_frame(orjson.dumps(as_openai(refusal.problem(), refusal.status)))


ANSWER: Final = StreamKind(refused_event, finite=True)
# The client that asked reads every event as JSON, as OpenAI's API has it, and cannot ask for the rest of an answer.
ANSWER_TO_REQUESTER: Final = StreamKind(
    _error_event, finite=True, reads_cursor=False, returns=False, patience_seconds=600.0, transport="answer"
)

# In the words of another API, whose streams have an event for each ending.
ANSWER_TRANSLATED: Final = replace(ANSWER_TO_REQUESTER, tells_ending=True)
# A page that knows no words of the service, but comes back where its stream is cut.
ANSWER_TO_PAGE: Final = replace(ANSWER_TRANSLATED, farewell=lambda *_: b"")


def answer_subscriber(  # noqa: PLR0913  # a record of what the stream asked for
    generation_id: str,
    after: EventId,
    transport: Transport,
    *,
    kind: StreamKind = ANSWER,
    expires: float | None = None,
    heartbeat: EncodedBatch = COMMENT,
    proof: str | None = None,
    on_leave: Callable[[Subscriber], None] | None = None,
    listener: Identity | None = None,
) -> Subscriber:
    """A subscriber that follows one answer, and ends with it. It counts for the answer and not for a user: an answer
    may have any number of tabs, and a user any number of answers."""
    channel = answer_channel(generation_id)
    return Subscriber(
        channel,
        [channel],
        after,
        transport,
        tracks_position=False,
        expires=expires,
        heartbeat=heartbeat,
        proof=proof,
        kind=kind,
        on_leave=on_leave,
        owner=None if listener is None else listener.user,
        token=None if listener is None else listener.token,
    )
