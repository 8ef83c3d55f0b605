"""How a generation ends: once, and in one of five ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from pushsvc import chunks, sse
from pushsvc.chunks import Json

RUNNING: Final = "running"  # the state of a generation without an ending


@dataclass(frozen=True, slots=True)
class Ending:
    """How a generation ended. `error`: what is told to who listens; `refusal`: the upstream's own answer, if it was
    one: status, headers and body; `answer`: all that was said, if it came at once."""

    state: str
    error: Json | None = None
    refusal: tuple[int, dict[str, str], bytes] | None = None
    answer: bytes | None = None

    def frames(self) -> list[bytes]:
        told = [] if self.error is None else [sse.data_frame(orjson.dumps({"error": self.error}))]
        return [*told, sse.DONE]

    def fields(self) -> list[Any]:
        found: list[Any] = []
        if self.error is not None:
            found += ["error", orjson.dumps(self.error)]
        if self.refusal is not None:
            status, headers, body = self.refusal
            found += ["refusal-status", status, "refusal-headers", orjson.dumps(headers), "refusal", body]
        if self.answer is not None:
            found += ["answer", self.answer]
        return found

    @classmethod
    def of(cls, state: str, raw: Mapping[bytes, bytes]) -> Self:
        """The ending that has these fields."""
        refusal = None
        if b"refusal" in raw:
            refusal = (int(raw[b"refusal-status"]), orjson.loads(raw[b"refusal-headers"]), raw[b"refusal"])
        return cls(state, orjson.loads(raw[b"error"]) if b"error" in raw else None, refusal)


def _failed(state: str, message: str, kind: str, code: str) -> Ending:
    return Ending(state, {"message": message, "type": kind, "code": code})


COMPLETED: Final = "completed"
CANCELLED: Final = _failed("cancelled", "The answer was cancelled.", "cancelled", "cancelled")
PRODUCER_LOST: Final = _failed(
    "producer_lost", "The worker that made this answer is gone.", "server_error", "producer_lost"
)


def timeout(message: str, code: str) -> Ending:
    return _failed("timeout", message, "timeout", code)


def upstream_error(message: str, code: str, said: Json | None = None) -> Ending:
    """`said`: the error in the upstream's own words, where it has some."""
    ending = _failed("upstream_error", message, "upstream_error", code)
    return Ending(ending.state, (ending.error or {}) | (said or {}))


def refused(status: int, headers: dict[str, str], body: bytes) -> Ending:
    """The upstream did not begin to answer."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        given = None
    error = given.get("error") if isinstance(given, dict) and not chunks.is_deep(body, given) else None
    ours = upstream_error(f"The model refused with status {status}.", "upstream_refused")
    told = (ours.error or {}) | (error if isinstance(error, dict) else {}) | {"status": status}
    return Ending(ours.state, told, (status, headers, body))
