"""Finds how many cores this process may use. In a container that can be far fewer than the machine has."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


def usable_cores() -> int:
    """The number of cores that the process may run on, or its quota of processor time in cores, whichever is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, quota() or allowed)


def quota(root: Path = Path("/")) -> int | None:
    """The limit that control groups set on processor time, in cores, rounded up. None: there is no limit. The smallest
    limit among the nested groups counts (cgroups(7); the file is cpu.max, in version 1 cpu.cfs_quota_us)."""
    bounds = [bound for place in _places(root) for folder in place.folders() if (bound := _bound(folder)) is not None]
    return max(1, math.ceil(min(bounds))) if bounds else None


class _Place(NamedTuple):
    """The folder where a hierarchy of control groups is mounted, and the path of this process's group below it."""

    mount: Path
    group: tuple[str, ...]

    def folders(self) -> Iterator[Path]:
        for depth in range(len(self.group) + 1):
            yield self.mount.joinpath(*self.group[:depth])


def _places(root: Path) -> Iterator[_Place]:
    """Yield the places of the hierarchies that limit processor time: first those in the list of mounts, then those
    where systems usually mount them."""
    for controllers, path in _groups(root):
        group = _parts(path)
        for kind, shown, mount, options in _mounts(root):
            if kind == "cgroup2" if not controllers else kind == "cgroup" and "cpu" in options:
                inside = group[: len(shown)] == shown  # else only the top group of the mount contains this process
                yield _Place(mount, group[len(shown) :] if inside else ())
        for name in ("", "unified") if not controllers else ("cpu", "cpu,cpuacct"):
            yield _Place(root / "sys/fs/cgroup" / name, group)


def _groups(root: Path) -> Iterator[tuple[list[str], str]]:
    """Yield the groups of this process: the controllers (none: version 2) and the path."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = (line + "::").split(":", 2)
        names = controllers.split(",") if controllers else []
        if not names or "cpu" in names:
            yield names, path.removesuffix("::")


def _mounts(root: Path) -> Iterator[tuple[str, tuple[str, ...], Path, list[str]]]:
    """Yield the mounts of control groups: type, mounted part of the file system, mount point, and options
    (proc_pid_mountinfo(5))."""
    for line in _lines(root / "proc/self/mountinfo"):
        left, found, right = line.partition(" - ")
        fields, more = left.split(" "), right.split(" ")
        if found and len(fields) > 4 and len(more) > 2 and more[0] in ("cgroup", "cgroup2"):
            mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            yield more[0], _parts(fields[3]), root / mount.lstrip("/"), more[2].split(",")


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", ".", ".."))


def _bound(folder: Path) -> float | None:
    """The limit of one group, in cores. None: the group has none."""
    words = " ".join(_lines(folder / "cpu.max")).split()
    if not words:
        words = [*_lines(folder / "cpu.cfs_quota_us"), *_lines(folder / "cpu.cfs_period_us")]
    try:
        share, period = map(int, words)
    except ValueError:  # no such group, or "max"
        return None
    return share / period if share > 0 and period > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
