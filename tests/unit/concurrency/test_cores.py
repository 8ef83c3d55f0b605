"""Cores that may be used: what control groups of both versions say, in trees made for it and in this process's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pushsvc.concurrency.cores import quota, usable_cores
from tests.support.stack import Stack

V2 = "30 25 0:26 {shown} {mount} rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:28 {shown} {mount} rw,relatime - cgroup cgroup rw,{controllers}\n"
SYS = "/sys/fs/cgroup"


def machine(root: Path, group: str, mounts: str, **files: str) -> Path:
    """A root whose files these are: a group's file is named by its path, with `__` for `/`."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(group)
    (root / "proc/self/mountinfo").write_text(
        f"27 1 254:0 / / rw - ext4 /dev/vda rw\n{mounts}\ngarbage - \n\n- - cgroup2\n"
    )
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", None),
        ("max\n", None),
        ("", None),
        ("what is this\n", None),
        ("0 100000\n", None),
        ("100000 0\n", None),
        ("100000 100000\n", 1),
        ("100001 100000\n", 2),
        ("150000 100000\n", 2),
        ("400000 100000\n", 4),
        ("1000 100000\n", 1),
        ("25000 50000\n", 1),
        ("6400000 100000\n", 64),
    ],
)
def test_version_2(tmp_path: Path, text: str, cores: int | None) -> None:
    mounts = V2.format(shown="/", mount=SYS)
    root = machine(tmp_path, "0::/a.slice/b.service\n", mounts, **{"a.slice__b.service__cpu_max": text})
    assert quota(root) == cores


@pytest.mark.parametrize(
    ("share", "period", "cores"),
    [("-1", "100000", None), ("0", "100000", None), ("100000", "100000", 1), ("250000", "100000", 3), ("x", "y", None)],
)
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_version_1(tmp_path: Path, share: str, period: str, cores: int | None, controllers: str) -> None:
    group = f"12:memory:/elsewhere\n4:{controllers}:/docker/abc\n0::/\n"
    mounts = V1.format(shown="/", mount=f"{SYS}/{controllers}", controllers=controllers)
    files = {f"{controllers}__docker__abc__cpu_cfs_{name}_us": f"{value}\n" for name, value in
             {"quota": share, "period": period}.items()}  # fmt: skip
    assert quota(machine(tmp_path, group, mounts, **files)) == cores


def test_the_narrowest_of_nested_groups_counts(tmp_path: Path) -> None:
    files = {"cpu_max": "max 100000", "a__cpu_max": "300000 100000", "a__b__cpu_max": "800000 100000"}
    root = machine(tmp_path, "0::/a/b/c\n", V2.format(shown="/", mount=SYS), **files)
    assert quota(root) == 3


def test_a_container_that_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\n", V2.format(shown="/", mount=SYS), cpu_max="100000 100000")
    assert quota(root) == 1


def test_a_container_whose_mount_begins_at_its_own_group(tmp_path: Path) -> None:
    """Below it, `/docker/abc/sub` is `sub`, and nobody else's `docker`."""
    files = {"cpu_max": "500000 100000", "sub__cpu_max": "200000 100000"}
    root = machine(tmp_path, "0::/docker/abc/sub\n", V2.format(shown="/docker/abc", mount=SYS), **files)
    assert quota(root) == 2


def test_a_mount_that_shows_other_groups_only(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/../other\n", V2.format(shown="/docker/abc", mount=SYS), cpu_max="200000 100000")
    assert quota(root) == 2


def test_a_mount_in_an_odd_place_with_a_blank_in_its_name(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/a\n", V2.format(shown="/", mount="/odd\\040place"))
    (root / "odd place/a").mkdir(parents=True)
    (root / "odd place/a/cpu.max").write_text("200000 100000")
    assert quota(root) == 2


def test_both_versions_side_by_side(tmp_path: Path) -> None:
    mounts = V1.format(shown="/", mount=f"{SYS}/cpu", controllers="cpu") + V2.format(shown="/", mount=f"{SYS}/unified")
    files = {
        "cpu__g__cpu_cfs_quota_us": "300000",
        "cpu__g__cpu_cfs_period_us": "100000",
        "unified__g__cpu_max": "max 1",
    }
    assert quota(machine(tmp_path, "2:cpu:/g\n0::/g\n", mounts, **files)) == 3


def test_where_nothing_is_known_nothing_is_bounded(tmp_path: Path) -> None:
    assert quota(tmp_path) is None
    assert usable_cores() >= 1


def test_a_stack_that_may_use_one_core_has_one_worker_of_each_kind(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # as `taskset -c` does
    try:
        stack = Stack(tmp_path, workers="")
    finally:
        os.sched_setaffinity(0, allowed)
    try:
        stack.until_ready()
        assert {part: len(pids) for part, pids in stack.pids().items()} == {"valkey": 1, "gunicorn": 2, "nginx": 2}
    finally:
        stack.stop()
