"""Another machine, as far as addresses go: a network namespace with a cable to this one (Linux, as root)."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest

from tests.support.programs import IP, need

_CLONE_NEWNET = 0x40000000  # sched.h

T = TypeVar("T")


class Elsewhere:
    """`here` and `there`: the addresses of both ends of the cable."""

    def __init__(self, name: str, here: str, there: str) -> None:
        self.here, self.there = here, there
        # A namespace is a thread's: what this one opens is over there, and can be used from any thread.
        self._thread = ThreadPoolExecutor(1, initializer=_enter, initargs=(name,))

    def call(self, function: Callable[[], T]) -> T:
        return self._thread.submit(function).result()

    def close(self) -> None:
        self._thread.shutdown()


def _enter(name: str) -> None:
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


@contextmanager
def another_machine() -> Iterator[Elsewhere]:
    """Skipped by name where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a network namespace")
    need(IP)
    number = random.randrange(64 * 256)
    net = f"198.18.{number // 64}.{number % 64 * 4}"  # for tests of networks: RFC 2544
    base, _, last = net.rpartition(".")
    here, there = f"{base}.{int(last) + 1}", f"{base}.{int(last) + 2}"
    name = f"psvc{number}"
    inside = ["ip", "netns", "exec", name]
    commands = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name],
        ["ip", "address", "add", f"{here}/30", "dev", f"{name}a"],
        ["ip", "link", "set", f"{name}a", "up"],
        [*inside, "ip", "address", "add", f"{there}/30", "dev", f"{name}b"],
        [*inside, "ip", "link", "set", f"{name}b", "up"],
    ]
    try:
        for words in commands:
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no network namespace can be made here: {done.stderr.strip()}")
        machine = Elsewhere(name, here, there)
        try:
            yield machine
        finally:
            machine.close()
    finally:
        subprocess.run(["ip", "link", "delete", f"{name}a"], capture_output=True)
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)
