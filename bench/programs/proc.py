"""The resources that processes have used, from /proc (Linux; proc(5))."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")  # clock ticks in a second


def family(pid: int) -> Iterator[int]:
    """The process and every one below it, parents first."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time in seconds, with that of children which have ended."""
    return sum(_ticks(pid) for pid in pids) / _TICKS


def _ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return sum(int(word) for word in stat.rpartition(")")[2].split()[11:15])


def uss(pids: Iterable[int]) -> int:
    """The processes' unique set size: the bytes that each of them shares with no other process."""
    return sum(_private(pid) for pid in pids)


def _private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def kernel_bytes() -> int:
    """Bytes that the machine's kernel holds for itself, such as those of sockets, files and epoll (SUnreclaim)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("SUnreclaim:"))
