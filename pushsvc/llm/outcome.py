"""The endings of a generation. It has exactly one, in one of six states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson

from pushsvc.events import exact_json, sse
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json

RUNNING: Final = "running"  # the state of a generation without an ending
TAKEN: Final = "taken"  # in place of a state: another worker goes on with it


@dataclass(frozen=True, slots=True)
class Ending:
    """The way in which a generation ended. `error`: the error that listeners are told; `refusal`: status, headers and
    body of the upstream's response, if that was an error; `answer`: the completion, if the upstream sent one;
    `headers`: headers of the upstream's response that are passed on to the client; `count`: a chunk with the count of
    tokens, which is no part of the log because the client did not ask for it; `shape`: the Shape of the completion that
    the log makes, None: its own."""

    state: str
    error: Json | None = None
    refusal: tuple[int, dict[str, str], bytes] | None = None
    answer: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    count: bytes | None = None
    shape: bytes | None = None

    def frames(self) -> list[bytes]:
        """The last events of the answer."""
        told = [] if self.error is None else [sse.data_frame(self.told())]
        return [*told, sse.DONE]

    def told(self) -> bytes:
        """The error, as JSON."""
        return exact_json.dumps({"error": self.error}, lone=True)

    def fields(self) -> list[Any]:
        """The fields and values that keep the ending in Redis; see `of`."""
        found: list[Any] = []
        if self.error is not None:
            found += ["error", exact_json.dumps(self.error, lone=True)]
        if self.refusal is not None:
            status, headers, body = self.refusal
            found += ["refusal-status", status, "refusal-headers", orjson.dumps(headers), "refusal", body]
        if self.answer is not None:
            found += ["answer", self.answer]
        if self.headers:
            found += ["headers", orjson.dumps(self.headers)]
        if self.count is not None:
            found += ["count", self.count]
        if self.shape is not None:
            found += ["shape", self.shape]
        return found

    @classmethod
    def of(cls, state: str, raw: Mapping[bytes, bytes]) -> Self:
        """Read the ending from these fields."""
        refusal = None
        if b"refusal" in raw:
            refusal = (int(raw[b"refusal-status"]), orjson.loads(raw[b"refusal-headers"]), raw[b"refusal"])
        error = exact_json.loads(raw[b"error"]) if b"error" in raw else None
        headers = orjson.loads(raw.get(b"headers", b"{}"))
        return cls(state, error, refusal, headers=headers, count=raw.get(b"count"), shape=raw.get(b"shape"))


def _failed(state: str, message: str, kind: str, code: str) -> Ending:
    return Ending(state, {"message": message, "type": kind, "code": code})


COMPLETED: Final = "completed"
CANCELLED: Final = _failed("cancelled", "The answer was cancelled.", "cancelled", "cancelled")
PRODUCER_LOST: Final = _failed(
    "producer_lost", "The worker that made this answer is gone.", "server_error", "producer_lost"
)

DATA_LOST: Final = _failed("data_lost", "The answer was lost with Redis's data.", "server_error", "data_lost")


def timeout(message: str, code: str) -> Ending:
    """The ending of an answer that took too long. `message`: for people; `code`: for programs."""
    return _failed("timeout", message, "timeout", code)


def upstream_error(message: str, code: str, said: Json | None = None) -> Ending:
    """The ending of an answer whose model failed. `said`: the upstream's own error object; its members replace ours."""
    ending = _failed("upstream_error", message, "upstream_error", code)
    return Ending(ending.state, (ending.error or {}) | _words(said or {}))


def _words(said: Json) -> Json:
    """The members that are not null; null does not replace a member of ours."""
    return {name: word for name, word in said.items() if word is not None}


def refused(status: int, headers: dict[str, str], body: bytes) -> Ending:
    """The ending of an answer that the upstream refused to give."""
    try:
        given = exact_json.loads(body)
    except exact_json.NotJson:
        given = None
    error = given.get("error") if isinstance(given, dict) and not openai.is_deep(body) else None
    ours = upstream_error(f"The model refused with status {status}.", "upstream_refused")
    told = (ours.error or {}) | _words(error if isinstance(error, dict) else {}) | {"status": status}
    if status in OPERATORS:
        told |= {"message": f"{NOT_YOURS} It says ({status}): {told['message']}", "type": "upstream_error"}
    return Ending(ours.state, told, (status, headers, body))


# Statuses of the model's server, or of a proxy before it, about the account of this service. The user, whose own token
# is good, must not take them for a refusal of that.
OPERATORS: Final = frozenset({401, 403, 407})
NOT_YOURS: Final = "The model's server refuses this service's own account, not your token."
