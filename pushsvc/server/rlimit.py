"""The operating system's limit on open files."""

from __future__ import annotations

import resource
from typing import Final

_OPEN_MAX: Final = 10240  # the true limit of macOS, whose hard limit says "infinity"
RESERVED: Final = 200  # descriptors for Redis, files, and requests that are no streams


def raise_descriptor_limit() -> int:
    """Raise the soft limit on open files to the hard one, and give the number that may be open at once. A connection
    takes a descriptor, and the usual soft limit of 1024 is far below what a worker holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(soft, _OPEN_MAX) if hard == resource.RLIM_INFINITY else hard
    if soft in (most, resource.RLIM_INFINITY):
        return most
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ValueError, OSError):
        return soft
    return most


def most_connections(wanted: int, descriptors: int) -> int:
    """The number of connections that a worker can hold. Some descriptors are kept back: without any, the worker could
    not even answer that it is full."""
    return min(wanted, max(1, descriptors - RESERVED))
