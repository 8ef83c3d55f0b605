"""Finds how many cores this process may use. In a container that can be far fewer than the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

from pushsvc.concurrency.control_groups import group_folders, lines


def usable_cores() -> int:
    """The number of cores that the process may run on, or its quota of processor time in cores, whichever is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, quota() or allowed)


def quota(root: Path = Path("/")) -> int | None:
    """The limit that control groups set on processor time, in cores, rounded up. None: there is no limit. The smallest
    limit among the nested groups counts (cgroups(7); the file is cpu.max, in version 1 cpu.cfs_quota_us)."""
    bounds = [bound for folder in group_folders(root, "cpu") if (bound := _bound(folder)) is not None]
    return max(1, math.ceil(min(bounds))) if bounds else None


def _bound(folder: Path) -> float | None:
    """The limit of one group, in cores. None: the group has none."""
    words = " ".join(lines(folder / "cpu.max")).split()
    if not words:
        words = [*lines(folder / "cpu.cfs_quota_us"), *lines(folder / "cpu.cfs_period_us")]
    try:
        share, period = map(int, words)
    except ValueError:  # no such group, or "max"
        return None
    return share / period if share > 0 and period > 0 else None
