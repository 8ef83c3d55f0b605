"""Finds this process's control groups, which limit what it may use of the machine (cgroups(7))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


def group_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups that may limit this process, outer ones first. `controller`: such as `cpu`."""
    for place in _places(root, controller):
        yield from place.folders()


class _Place(NamedTuple):
    """The folder where a hierarchy of control groups is mounted, and the path of this process's group below it."""

    mount: Path
    group: tuple[str, ...]

    def folders(self) -> Iterator[Path]:
        for depth in range(len(self.group) + 1):
            yield self.mount.joinpath(*self.group[:depth])


def _places(root: Path, controller: str) -> Iterator[_Place]:
    """Yield the places of the hierarchies that have the controller: first those in the list of mounts, then those
    where systems usually mount them."""
    for controllers, path in _groups(root, controller):
        group = _parts(path)
        for kind, shown, mount, options in _mounts(root):
            if kind == "cgroup2" if not controllers else kind == "cgroup" and controller in options:
                inside = group[: len(shown)] == shown  # else only the top group of the mount contains this process
                yield _Place(mount, group[len(shown) :] if inside else ())
        for name in ("", "unified") if not controllers else (controller, "cpu,cpuacct"):
            yield _Place(root / "sys/fs/cgroup" / name, group)


def _groups(root: Path, controller: str) -> Iterator[tuple[list[str], str]]:
    """Yield the groups of this process: the controllers (none: version 2) and the path."""
    for line in lines(root / "proc/self/cgroup"):
        _, controllers, path = (line + "::").split(":", 2)
        names = controllers.split(",") if controllers else []
        if not names or controller in names:
            yield names, path.removesuffix("::")


def _mounts(root: Path) -> Iterator[tuple[str, tuple[str, ...], Path, list[str]]]:
    """Yield the mounts of control groups: type, mounted part of the file system, mount point, and options
    (proc_pid_mountinfo(5))."""
    for line in lines(root / "proc/self/mountinfo"):
        left, found, right = line.partition(" - ")
        fields, more = left.split(" "), right.split(" ")
        if found and len(fields) > 4 and len(more) > 2 and more[0] in ("cgroup", "cgroup2"):
            mount = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            yield more[0], _parts(fields[3]), root / mount.lstrip("/"), more[2].split(",")


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split("/") if part not in ("", ".", ".."))


def lines(path: Path) -> list[str]:
    """Read the lines of a file; none if it cannot be read."""
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
