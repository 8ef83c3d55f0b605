"""Counts of tokens: the engine's own, or an estimate. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from pushsvc.llm.formats.joining import Json

_NULL: Final = re.compile(rb',\s*"usage"\s*:\s*null')  # a quote in a string would be escaped


def is_count(value: Json) -> bool:
    """Whether a chunk has the count of tokens, and nothing of the answer; LiteLLM's has a choice that says nothing."""
    said = (choice.get("delta") or choice.get("finish_reason") for choice in value.get("choices") or ())
    return bool(value.get("usage")) and not any(said)


def without_null(raw: bytes) -> bytes:
    """A chunk without the `usage` of null that those have whose count comes later."""
    found, count = _NULL.subn(b"", raw)
    return found if count == 1 else raw


def of_timings(whole: Json) -> Json | None:
    """The count in `timings`, which llama.cpp sends with each answer. None: there is none."""
    timings = whole.get("timings")
    if not isinstance(timings, dict):
        return None
    prompt, cached, said = (_whole(timings.get(name)) for name in ("prompt_n", "cache_n", "predicted_n"))
    if prompt is None or said is None:
        return None
    prompt += cached or 0
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value >= 0 and value == int(value) else None
