"""The file of LLM_UPSTREAMS: the models' servers between which questions are divided."""

from __future__ import annotations

import os
import tomllib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pushsvc.errors import ConfigError
from pushsvc.settings.types import ApiKey, BaseUrl, Count, FilePath, Name, RequestHeaders

# The text of the file as gunicorn's master read it last, so that its workers begin with one that is right.
HELD: Final = "PUSHSVC_HELD_UPSTREAMS"
MOST_BYTES: Final = 2**20
MOST_UPSTREAMS: Final = 100


class UpstreamSettings(BaseModel):
    """One table `[[upstream]]`. `models`: names of those it has, in which `*` and `?` stand for any characters;
    `weight`: its share among those that have the model; `at_a_time`: answers that a worker has it make, None: any;
    `queue`: questions of a worker that wait for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Name
    base_url: Annotated[BaseUrl, Field(min_length=1, repr=False)]
    api_key: ApiKey = Field("", repr=False)
    api_key_file: FilePath | None = None
    headers: RequestHeaders = Field((), repr=False)
    models: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    weight: Count = 1
    at_a_time: Count | None = None
    queue: Annotated[int, Field(ge=0, le=100_000)] = 100


def hold(file: Path | None, environ: MutableMapping[str, str]) -> str | None:
    """Read the file for the workers that begin now. What is wrong with it is returned where the former text stays
    instead. Raises ConfigError if there is none."""
    if file is None:
        environ.pop(HELD, None)
        return None
    try:
        text = _text(file)
        read(text)
    except ConfigError as error:
        if HELD not in environ:
            raise
        return f"{error.detail}; what it said before stays"
    environ[HELD] = text
    return None


def load(file: Path) -> tuple[UpstreamSettings, ...]:
    """The upstreams that hold now: those of the master, or of the file. Raises ConfigError."""
    held = os.environ.get(HELD)
    return read(_text(file) if held is None else held)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ConfigError(f"PUSHSVC_LLM_UPSTREAMS is {str(file)!r}: it cannot be read: {why}") from None
    return text


def read(text: str) -> tuple[UpstreamSettings, ...]:
    """Read the text of the file. Raises ConfigError, which tells no key."""
    try:
        tables: Any = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(f"is no TOML: {error}") from None
    given = tables.get("upstream")
    if set(tables) != {"upstream"} or not isinstance(given, list) or not 0 < len(given) <= MOST_UPSTREAMS:
        raise _wrong("should have nothing but tables [[upstream]]")
    try:
        found = tuple(UpstreamSettings.model_validate(each) for each in given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = first["msg"].removeprefix("Value error, ")
        raise _wrong(
            f"has a wrong {'.'.join(map(str, first['loc'])) or 'table'}: {what[0].lower()}{what[1:]}"
        ) from None
    if len({each.name for each in found}) < len(found):
        raise _wrong("should have each name once")
    return found


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"PUSHSVC_LLM_UPSTREAMS names a file that {what}")
