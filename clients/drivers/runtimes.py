"""The programs in programs/, which listen and ask with other people's libraries, and what runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support import programs
from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT

FOLDER = ROOT / "clients"
MODULES = FOLDER / "node_modules"
ENVIRONMENT = FOLDER / ".venv"


def node(program: str = "listen.mjs") -> list[str]:
    """The command of Node: the pinned one, else the system's."""
    _need(MODULES)
    pinned = next(MODULES.glob("node-linux-*/bin/node"), None)
    return [str(pinned or programs.need(programs.NODE)), "--experimental-eventsource", program]


def deno() -> list[str]:
    _need(MODULES)
    found = next(MODULES.glob("@deno/*/deno"), None)
    return [str(found or programs.need(programs.DENO)), "run", "--quiet", "--allow-all", "listen.mjs"]


def python(program: str = "listen.py") -> list[str]:
    """The command of Python in an environment of the clients' own, apart from what the service requires."""
    return [str(_need(ENVIRONMENT / "bin" / "python")), program]


def curl() -> list[str]:
    programs.need(programs.CURL)
    return [programs.need(programs.BASH), "listen.sh"]


def _need(path: Path) -> Path:
    if not path.exists():
        missing = f"there is no clients/{path.relative_to(FOLDER)}; `make clients` makes it"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path


class Program:
    """One of the programs; it prints lines of JSON."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            words, cwd=FOLDER / "programs", text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=dies_with_the_tests(signal.SIGKILL),
        )  # fmt: skip
        self.lines: list[dict[str, Any]] = []
        self._noise: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:  # libraries write what they like
                self._noise.append(line)

    def wait(self) -> list[dict[str, Any]]:
        """All it said, once it has ended by itself."""
        self._process.wait(100)
        self._thread.join()
        assert self.lines, self.said()
        return self.lines

    def placed(self) -> bool:
        return any("cursor" in line for line in self.lines)

    def heard(self) -> list[str]:
        return [line["data"] for line in self.lines if "data" in line]

    def closed(self) -> bool:
        return any(line.get("closed") for line in self.lines)

    def said(self) -> str:
        """Its output, for people who ask why it did not do what it should."""
        errors = [line for line in self.lines if "error" in line]
        return f"errors {errors[-5:]}, output {self._noise[-5:]}"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
