"""Processes that tests start, and what they hold."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pushsvc.stack.process import dies_with_parent


def descendants(pid: int) -> Iterator[int]:
    """Every process below `pid`, parents first (Linux: /proc)."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:  # it has ended
        return
    for task in tasks:
        try:
            children = [int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from descendants(child)


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether the process is neither gone nor a zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def dies_with_the_tests(number: signal.Signals, files: object = 0) -> Callable[[], None]:
    """The function that a child calls before exec, so that no test leaves a process behind, even if the tests are
    killed."""

    dies = dies_with_parent(number)

    def prepare() -> None:
        if isinstance(files, int) and files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        dies()

    return prepare


@pytest.fixture(scope="module", autouse=True)
def without_coverage() -> Iterator[None]:
    """Start without the coverage what these tests start themselves: it costs more time than it tells, since tests of
    behaviour run the same lines. The session's own stacks are begun before this, and are covered. For the conftest.py
    of a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # by which coverage's patch `subprocess` begins
        yield
