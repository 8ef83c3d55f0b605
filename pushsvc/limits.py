"""What the operating system allows a process."""

from __future__ import annotations

import resource
from typing import Final

RESERVED: Final = 200  # descriptors for Redis, files, and requests that are no streams


def raise_descriptor_limit() -> int:
    """A connection takes a descriptor, and the usual soft limit of 1024 is far below what a worker holds. Gives the
    number that may be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def most_connections(wanted: int, descriptors: int) -> int:
    """How many connections a worker can hold: out of descriptors it could not even say that it is full."""
    return min(wanted, max(1, descriptors - RESERVED))
