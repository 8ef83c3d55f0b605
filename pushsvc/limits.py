"""What the operating system allows a process."""

from __future__ import annotations

import resource


def raise_descriptor_limit() -> None:
    """A connection takes a descriptor, and the usual soft limit of 1024 is far below what a worker holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
