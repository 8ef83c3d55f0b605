"""Finds how much memory this process may use. In a container that can be far less than the machine has."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pushsvc.concurrency.control_groups import group_folders, lines

_FILES: Final = ("memory.max", "memory.limit_in_bytes")  # of version 2, of version 1


def usable_memory(root: Path = Path("/")) -> int | None:
    """The machine's memory, or the smallest limit among the nested control groups, in bytes, whichever is less. None:
    the system does not say. Without a limit version 1 says more than any machine has, version 2 says `max`."""
    total = [
        int(words[1]) * 1024 for line in lines(root / "proc/meminfo") if (words := line.split())[:1] == ["MemTotal:"]
    ]
    found = [(folder / name) for folder in group_folders(root, "memory") for name in _FILES]
    limits = [int(text) for path in found for text in lines(path) if text.isdecimal()]
    return min((each for each in total + limits if each > 0), default=None)
