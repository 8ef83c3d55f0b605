"""One child process of the stack: started, kept alive, stopped, and never orphaned."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pushsvc.concurrency.backoff import Backoff
from pushsvc.program.terminal import say

STEADY_SECONDS: Final = 5.0  # a part that ran this long is restarted at once, others after growing pauses
FIRST_PAUSE: Final = 0.1  # seconds; doubled each time
LONGEST_PAUSE: Final = 5.0  # seconds
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


@dataclass
class ManagedProcess:
    """One child process, and how to start, restart and stop it."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    environ: Mapping[str, str]
    lock: int  # a descriptor that the part holds too, so that the lock outlives a supervisor that was killed
    gently: signal.Signals = signal.SIGTERM  # lets what is under way finish
    at_once: signal.Signals = signal.SIGTERM
    folder: Path | None = None  # to run in, if not ours
    process: subprocess.Popen[bytes] | None = None
    _started: float = 0.0
    _backoff: Backoff = field(default_factory=lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE))
    _due: float = 0.0

    def start(self) -> None:
        """Start the process. Raises OSError."""
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=dict(self.environ),
            pass_fds=(self.lock,),
            start_new_session=True,  # so Ctrl-C reaches only the supervisor, and the group can be killed as one
            preexec_fn=dies_with_parent(self.at_once),
        )

    def mend(self) -> None:
        """Start the process again if it has ended, after a pause that grows while it keeps ending early."""
        now = time.monotonic()
        if self.process is not None:
            if self.process.poll() is None:
                return
            say(f"{self.name} ended with status {self.process.returncode}; starting it again")
            self._end_group()
            self._due = now
            if now - self._started > STEADY_SECONDS:
                self._backoff.reset()
            else:
                self._due += self._backoff.next_pause()
            self.process = None
        if now >= self._due:
            try:
                self.start()
            except OSError as error:  # such as no more processes or memory, which may pass
                say(f"{self.name} cannot be started: {error.strerror}")
                self._due = now + LONGEST_PAUSE

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def ask_to_stop(self, *, gently: bool) -> None:
        """Send the signal to stop. `gently`: requests under way may end first."""
        if self.process is not None:
            self.process.send_signal(self.gently if gently else self.at_once)

    def reload(self) -> None:
        """Have the process read its files again, if it runs."""
        if self.process is not None and self.alive:
            self.process.send_signal(signal.SIGHUP)

    def end(self) -> None:
        """End the process and its children, by SIGKILL where they still run."""
        if self.process is None:
            return
        if self.alive:
            say(f"{self.name} does not stop; killing it")
        self._end_group()
        self.process.wait()
        self.process = None

    def _end_group(self) -> None:
        """Kill what is left of the process group. Children of a killed process would go on holding its port."""
        assert self.process is not None
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def dies_with_parent(number: signal.Signals) -> Callable[[], None]:
    """Make a `preexec_fn` for `subprocess`: the child gets the signal `number` when this process dies, even by SIGKILL
    (prctl(2), Linux only)."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def prepare() -> None:
        if hasattr(libc, "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, int(number))
            if os.getppid() != parent:
                os._exit(1)

    return prepare
