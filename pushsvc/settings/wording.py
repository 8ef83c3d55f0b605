"""Words a setting that is wrong."""

from __future__ import annotations

from pydantic import ValidationError


def one_line(error: ValidationError, prefix: str) -> str:
    """Word the first problem: the name, the value (unless it is a secret), what it should be."""
    first = error.errors(include_url=False)[0]
    field = str(first["loc"][0])
    given = str(first["input"])
    private = field in ("secret", "redis_url", "llm_api_key", "llm_headers", "hook_url", "hook_secret")
    if field == "llm_base_url":  # the URL may hold a password or a key
        private = "@" in given or "?" in given
    value = "" if private else f" is {given!r}:"
    what = first["msg"].removeprefix("Value error, ")
    return f"{prefix}{field.upper()}{value} {what[0].lower()}{what[1:]}"
