"""The record of an answer in metrics, logs and spans."""

from __future__ import annotations

import logging
import time
from typing import Final

from pushsvc import metrics
from pushsvc.llm.outcome import COMPLETED, TAKEN, Ending
from pushsvc.telemetry import spans
from pushsvc.telemetry.current import current
from pushsvc.telemetry.logs import REQUESTS, tell

LONGEST_MODEL: Final = 80  # characters of a model's name in a span: clients choose it


class Trail:
    """The records of one answer, from the request that asks for it to its end. `headers`: those by which the model's
    server goes on with the trace."""

    __slots__ = ("_began", "_id", "_request_id", "_span", "_user", "headers")

    def __init__(self, generation_id: str, user: str, model: str) -> None:
        """`model`: as the question names it; empty: it names none."""
        self._id = generation_id
        self._user = user
        request = current()
        self._request_id = None if request is None else request.id
        self._began = time.monotonic()
        model = model[:LONGEST_MODEL]
        named = {"gen_ai.request.model": model} if model else {}
        attributes = {"gen_ai.operation.name": "chat", "pushsvc.generation.id": generation_id} | named
        self._span = spans.begin(f"chat {model}".rstrip(), "CLIENT", attributes)
        self.headers = spans.onward(self._span)
        if REQUESTS.isEnabledFor(logging.INFO):
            tell(REQUESTS, "answer began", generation=generation_id, user=user)

    def ended(self, ending: Ending) -> None:
        """Tell of the end, or that another worker goes on."""
        seconds = time.monotonic() - self._began
        if ending.state != TAKEN:  # else it has no ending yet
            metrics.GENERATIONS.labels(ending.state).inc()
            metrics.UPSTREAM.observe(seconds)
        if self._span is not None:
            self._span.end(None if ending.state == COMPLETED else ending.state)
        if REQUESTS.isEnabledFor(logging.INFO):
            told = {"generation": self._id, "user": self._user, "state": ending.state, "seconds": round(seconds, 6)}
            tell(REQUESTS, "answer ended", **told, request_id=self._request_id)
