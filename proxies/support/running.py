"""A proxy of a kind, before one or two services."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx

from proxies.support.kinds import CONFIGURATIONS, PORT, SERVICES, Kind
from tests.support.clients.eventsource import until
from tests.support.ports import free_port
from tests.support.processes import dies_with_the_tests


class Proxy:
    """A running proxy, which listens at `url` until it is closed."""

    def __init__(self, kind: Kind, file: str, services: tuple[int, int]) -> None:
        """`services`: the ports of two services; a configuration with one service takes the first."""
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._folder = Path(tempfile.mkdtemp())
        self._folder.chmod(0o777)  # some drop their rights, and pytest's own folders are closed to others
        for each in CONFIGURATIONS.glob("away.*"):
            shutil.copy(each, self._folder)
        ports = dict(zip(map(str, SERVICES), map(str, services), strict=True)) | {str(PORT): str(self._port)}
        text = re.sub(r"\b(8001|8002|8080)\b", lambda found: ports[found[0]], kind.configuration(file, self._folder))
        path = self._folder / Path(file).name
        path.write_text(text)
        words = kind.words(self._folder, path, self._port)
        self._log = (self._folder / "output").open("w")
        self._process = subprocess.Popen(
            words, cwd=self._folder, stdout=self._log, stderr=subprocess.STDOUT,
            env={
                "PATH": "/usr/sbin:/usr/bin:/bin",
                "HOME": str(self._folder),
                "CADDY_ADMIN": f"unix/{self._folder}/caddy",  # else all of them share a port
            },
            preexec_fn=dies_with_the_tests(signal.SIGKILL),
        )  # fmt: skip
        try:
            until(lambda: self._listens() or self._process.poll() is not None, f"{kind.name} to listen")
            assert self._process.poll() is None, (self._folder / "output").read_text()
        except BaseException:
            self.close()
            raise

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def status_of(url: str) -> int:
    """The status of an answer; 0: nobody answers."""
    try:
        return httpx.get(url, trust_env=False, timeout=10).status_code
    except httpx.HTTPError:
        return 0


def becomes(condition: Callable[[], object], seconds: float) -> bool:
    """Whether the condition holds within this time."""
    try:
        until(condition, "the condition", seconds)
    except AssertionError:
        return False
    return True
