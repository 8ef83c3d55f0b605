"""The secrets that the service gave to clients of the tests, and that must stand in no log: values of cookies, and
proofs in ids."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

SHORTEST: Final = 16  # characters; what is shorter could stand in a log by chance
_COOKIE: Final = re.compile(r"(?:^|, )(?:__Host-|__Secure-)?pushsvc[A-Za-z0-9_.-]*=([^;,]+)")
given: Final[set[str]] = set()


def note_cookies(fields: Iterable[str]) -> None:
    """Remember the values of our cookies in these `Set-Cookie` headers."""
    given.update(value for field in fields for value in _COOKIE.findall(field) if len(value) >= SHORTEST)


def note_id(event_id: str) -> None:
    """Remember the proof in an event's id, if it has one."""
    proof = event_id.partition("~")[2]
    if len(proof) >= SHORTEST:
        given.add(proof)
