"""How many cores this process may use. A container's share of a large machine is not what the machine has."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


def usable_cores() -> int:
    """Count the cores that the process may run on, and no more than its share of time is worth."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, quota() or allowed)


def quota(root: Path = Path("/")) -> int | None:
    """The bound of the control groups on the processors' time, in cores, rounded up. None: they set none. The
    narrowest of the nested groups counts (cgroups(7); cpu.max, and cpu.cfs_quota_us before it)."""
    bounds = [bound for place in _places(root) for folder in place.folders() if (bound := _bound(folder)) is not None]
    return max(1, math.ceil(min(bounds))) if bounds else None


class _Place(NamedTuple):
    """A place where a hierarchy of groups can be seen, and our own group below it."""

    mount: Path
    group: tuple[str, ...]

    def folders(self) -> Iterator[Path]:
        for depth in range(len(self.group) + 1):
            yield self.mount.joinpath(*self.group[:depth])


def _places(root: Path) -> Iterator[_Place]:
    """The places of the hierarchies that bound the time: as the mounts have it, and where all systems mount them."""
    for controllers, path in _groups(root):
        group = _parts(path)
        for kind, shown, mount, options in _mounts(root):
            if kind == "cgroup2" if not controllers else kind == "cgroup" and "cpu" in options:
                inside = group[: len(shown)] == shown  # else only the mount's own top is above us
                yield _Place(mount, group[len(shown) :] if inside else ())
        for name in ("", "unified") if not controllers else ("cpu", "cpu,cpuacct"):
            yield _Place(root / "sys/fs/cgroup" / name, group)


def _groups(root: Path) -> Iterator[tuple[list[str], str]]:
    """Read our groups: the controllers (none: version 2) and the path."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = (line + "::").split(":", 2)
        names = controllers.split(",") if controllers else []
        if not names or "cpu" in names:
            yield names, path.removesuffix("::")


def _mounts(root: Path) -> Iterator[tuple[str, tuple[str, ...], Path, list[str]]]:
    """Read the mounts: type, which part of the file system is shown, where, and the options (proc_pid_mountinfo(5))."""
    for line in _lines(root / "proc/self/mountinfo"):
        left, found, right = line.partition(" - ")
        fields, more = left.split(" "), right.split(" ")
        if found and len(fields) > 4 and len(more) > 2 and more[0] in ("cgroup", "cgroup2"):
            mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            yield more[0], _parts(fields[3]), root / mount.lstrip("/"), more[2].split(",")


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", ".", ".."))


def _bound(folder: Path) -> float | None:
    """A group's own bound, in cores. None: it has none."""
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
