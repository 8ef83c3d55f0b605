"""Warnings about environment variables that look like mistakes. The service prints them when it starts, and starts
anyway."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from pushsvc.config import PREFIX, Settings

_SETTINGS: Final = {field.upper() for field in Settings.model_fields}
_ELSEWHERE: Final = {"URL", "TOKEN"}  # PUSHSVC_URL and PUSHSVC_TOKEN, which clients read
# Variables that Kubernetes sets in every container for a Service named pushsvc.
_KUBERNETES: Final = re.compile(r"SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?")
_LIKE: Final = 0.7  # least similarity of two names for a guess
MARK: Final = "_PUSHSVC_REMARKS_TOLD"
_told: set[str] = set()  # printed by this process, or before its fork


def remarks(environ: Mapping[str, str]) -> Iterator[str]:
    """One line for each such variable. It repeats no value, as that may be a secret."""
    for name in sorted(environ):
        word = name.upper().replace("-", "_").removeprefix(PREFIX)
        if name == PREFIX + word and word in _SETTINGS:
            if re.search(r"\s#", environ[name]):
                yield f"{name} holds a blank and a #: a comment behind a value is a part of it under systemd and Docker"
        elif name.upper().startswith(PREFIX.rstrip("_")) and not _known_elsewhere(word, environ[name]):
            guess = "".join(f"; is {PREFIX}{each} meant?" for each in _guess(word))
            yield f"{name} is not a setting, and does nothing{guess}"


def _guess(word: str) -> list[str]:
    """At most one setting that was probably meant: the one with the most similar name, else one whose name holds the
    word."""
    pieces = [each for each in _SETTINGS if f"_{word}_" in f"_{each}_"]
    return get_close_matches(word, _SETTINGS, 1, _LIKE) or (pieces if len(pieces) == 1 else [])


def _known_elsewhere(word: str, value: str) -> bool:
    return word in _ELSEWHERE or (word == "PORT" and "://" in value) or _KUBERNETES.fullmatch(word) is not None


def tell(environ: Mapping[str, str]) -> None:
    """Print each remark once. A mark in the environment stops the processes that `up` and `serve` start from repeating
    them; forked workers share the set."""
    for line in () if MARK in environ else remarks(environ):
        if line not in _told:
            _told.add(line)
            print(f"pushsvc: {line}", file=sys.stderr, flush=True)
