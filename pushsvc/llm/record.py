"""The record of a generation in Redis. Its chunks are in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import orjson

from pushsvc.llm import asked
from pushsvc.llm.asked import PLAIN, Asked
from pushsvc.llm.outcome import RUNNING, Ending
from pushsvc.llm.request import About

FIELDS: Final = (
    b"state", b"user", b"worker", b"created", b"ended", b"about", b"cancels", b"answer",
    b"error", b"refusal-status", b"refusal-headers", b"refusal", b"headers", b"count", b"shape", b"continued",
    *asked.FIELDS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a generation. `about`: see About; None: it was begun before that was kept; `answer`: the
    completion, once it has been put together; `ended`: Unix time in milliseconds; `asked`: see Asked;
    `continued`: how often another worker took it over."""

    id: str
    user: str
    state: str
    worker: str
    created: int  # Unix time in milliseconds
    ended: int | None
    about: About | None
    cancels: bool  # the generation is cancelled when nobody listens
    ending: Ending | None
    answer: bytes | None
    asked: Asked = PLAIN
    continued: int = 0

    @classmethod
    def read(cls, generation_id: str, raw: Mapping[bytes, bytes | None]) -> Self | None:
        """Read a record from the values of FIELDS. None: there is none, or only fields written after it expired."""
        held = {name: value for name, value in raw.items() if value is not None}
        try:
            state = held[b"state"].decode()
            return cls(
                generation_id, held[b"user"].decode(), state, held[b"worker"].decode(), int(held[b"created"]),
                int(held[b"ended"]) if b"ended" in held else None,
                _about(held.get(b"about")), held[b"cancels"] == b"1",
                None if state == RUNNING else Ending.of(state, held), held.get(b"answer"),
                Asked.of(*map(held.get, asked.FIELDS)), int(held.get(b"continued", 0)),
            )  # fmt: skip
        except KeyError:
            return None


def _about(raw: bytes | None) -> About | None:
    if raw is None:
        return None
    model, prompt, (begin, end) = orjson.loads(raw)
    return About(model, prompt, (begin, end))
