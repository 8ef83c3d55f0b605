"""Memory that may be used: the machine's, or what control groups of both versions leave of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushsvc.concurrency.memory import usable_memory
from tests.support.settings import refusal, settings

MACHINE = 8 * 2**30
SYS = "/sys/fs/cgroup"


def machine(root: Path, group: str, mount: str, **limits: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal:        {MACHINE // 1024} kB\nMemFree:   1 kB\n\n")
    (root / "proc/self/cgroup").write_text(group)
    (root / "proc/self/mountinfo").write_text(mount)
    for name, text in limits.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / path.name.replace("memory_", "memory.")).write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "size"), [("max\n", MACHINE), ("1073741824\n", 2**30), ("", MACHINE), ("9" * 15, MACHINE)]
)
def test_version_2(tmp_path: Path, text: str, size: int) -> None:
    mount = f"30 25 0:26 / {SYS} rw - cgroup2 cgroup2 rw\n"
    root = machine(
        tmp_path,
        "0::/a/b\n",
        mount,
        a__memory_max="2147483648" if text == "1073741824\n" else "max",
        a__b__memory_max=text,
    )
    assert usable_memory(root) == size


@pytest.mark.parametrize(("text", "size"), [("9223372036854771712\n", MACHINE), ("536870912\n", 2**29)])
def test_version_1(tmp_path: Path, text: str, size: int) -> None:
    mount = f"32 31 0:28 / {SYS}/memory rw - cgroup cgroup rw,memory\n"
    files = {"memory__docker__abc__memory_limit_in_bytes": text}
    root = machine(tmp_path, "4:cpu:/elsewhere\n3:memory:/docker/abc\n", mount, **files)
    assert usable_memory(root) == size


def test_where_nothing_is_known(tmp_path: Path) -> None:
    assert usable_memory(tmp_path) is None


def test_the_server_gets_half_of_it() -> None:
    assert settings().max_memory == (usable_memory() or 0) // 2


@pytest.mark.parametrize(
    ("words", "size"), [("16777216", 2**24), ("512mb", 2**29), ("4 GB", 2**32), ("65536kb", 2**26)]
)
def test_sizes_are_read(words: str, size: int) -> None:
    assert settings(MAX_MEMORY=words).max_memory == size


@pytest.mark.parametrize("words", ["0", "1mb", "half", "-1gb", "1.5gb", "4g", "9999999gb", "4gb4"])
def test_others_stop_the_start(words: str) -> None:
    assert (
        refusal(MAX_MEMORY=words)
        == f"PUSHSVC_MAX_MEMORY is {words!r}: should be a size such as 512mb or 4gb, at least 16mb"
    )
