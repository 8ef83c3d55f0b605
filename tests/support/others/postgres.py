"""A PostgreSQL of Debian's, on a socket in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.support import programs
from tests.support.clients.eventsource import until
from tests.support.processes import dies_with_the_tests

_USER = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root


class Postgres:
    """`url` is that of its one database, which anybody on this machine may use."""

    def __init__(self) -> None:
        initdb = Path(programs.need(programs.POSTGRES)).resolve()
        server = initdb.parent / "postgres"
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # sockets need short names
        if _USER is not None:
            shutil.chown(self._folder, _USER)
        data = self._folder / "data"
        subprocess.run(
            [str(initdb), "-D", str(data), "-U", "app", "-A", "trust", "-N"],
            user=_USER, check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        self._process = subprocess.Popen(
            [str(server), "-D", str(data), "-k", str(self._folder), "-c", "listen_addresses=", "-c", "fsync=off"],
            user=_USER, cwd="/", stderr=subprocess.DEVNULL, preexec_fn=dies_with_the_tests(signal.SIGQUIT),
        )  # fmt: skip
        self.url = f"postgresql://app@/postgres?host={self._folder}"
        until((self._folder / ".s.PGSQL.5432").exists, "PostgreSQL")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        shutil.rmtree(self._folder)
