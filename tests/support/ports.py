"""Ports to listen at, which no other process of any run of the tests is given at the same time."""

from __future__ import annotations

import fcntl
import itertools
import random
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TextIO

FIRST, SHARE, SHARES = 20_000, 400, 30  # below the ports that the kernel gives to clients (Linux: from 32768)


def free_port() -> int:
    """A port that nobody listens at, and that was not given to this process lately, since its taker may start later."""
    _, ports = _ours()
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("unreachable: the ports go round")


@cache
def _ours() -> tuple[TextIO | None, itertools.cycle[int]]:
    """This process's share, and the file whose lock keeps it until the process ends. Who finds all of them taken goes
    round in any."""
    shares = random.sample(range(SHARES), SHARES)
    for share in shares:
        with suppress(OSError):  # another process's, or another user's
            file = (Path(tempfile.gettempdir()) / f"pushsvc-test-ports-{share}").open("a")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file, _round(share)
    return None, _round(shares[0])


def _round(share: int) -> itertools.cycle[int]:
    return itertools.cycle(range(FIRST + share * SHARE, FIRST + (share + 1) * SHARE))
