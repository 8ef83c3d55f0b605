"""Processes that never outlive the benchmark."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx

from pushsvc.stack.process import dies_with_parent

ROOT: Final = Path(__file__).resolve().parent.parent.parent
READY_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0


class BenchError(Exception):
    """The reason why there is nothing to measure, in one line."""


class Child:
    """A program in a session of its own, so that Ctrl-C reaches the benchmark alone, which then ends it.

    `ending` is the signal that it gets from `stop`, and from the kernel if the benchmark itself is killed.
    """

    def __init__(
        self,
        words: Sequence[str],
        environ: Mapping[str, str] | None = None,
        ending: signal.Signals = signal.SIGKILL,
        *,
        piped: bool = False,
        output: Path | None = None,
    ) -> None:
        """`output`: a file to keep what it prints in."""
        self.ending = ending
        self.name = " ".join(Path(word).name for word in words[:4])
        self._output = output.open("w+b") if output else tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self.process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=_clean_environment() | dict(environ or {}),
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else self._output,
            stderr=self._output,
            start_new_session=True,
            preexec_fn=dies_with_parent(ending),
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """The end of its output, on one line."""
        self._output.seek(0)
        return " ".join(self._output.read().decode(errors="replace")[-600:].split())

    def until(self, ready: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
        """Wait until `ready()` holds. Raises BenchError if the program ends, or takes longer."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.name} did not start: {self.said()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask the program to end, then kill it. May be called again."""
        if self.process.poll() is None:
            self.process.send_signal(self.ending)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.pid, signal.SIGKILL)  # workers that a killed parent left
        except ProcessLookupError:
            pass
        self.process.wait()
        self._output.close()


def _clean_environment() -> dict[str, str]:
    """The environment without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PUSHSVC_")}


def free_port() -> int:
    """A free port below the range from which the kernel takes the ports of clients."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def answers(port: int, path: str) -> bool:
    """Whether the port answers with a status below 500, which shows that the server is up."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=2).status_code < 500
    except httpx.HTTPError:
        return False
