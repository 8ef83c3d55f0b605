"""better-sse under Node, with events by way of Redis: see server.mjs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from bench.programs.child import BenchError
from bench.subjects.servers import Server, run_valkey

_FOLDER: Final = Path(__file__).resolve().parent


class BetterSse(Server):
    """One process of Node."""

    name = "better-sse+redis"
    own = "/events?user={}"

    def start(self) -> None:
        node = shutil.which("node")
        if node is None or not _installed():
            raise BenchError("not installed")
        self.run([node, str(_FOLDER / "server.mjs"), str(self.port), str(run_valkey(self))], "/")


def _installed() -> bool:
    """Whether the pinned packages are there; npm installs them the first time."""
    made, pinned = _FOLDER / "node_modules" / ".made", (_FOLDER / "package-lock.json").read_text()
    npm = shutil.which("npm")
    if npm and not (made.exists() and made.read_text() == pinned):
        words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        if subprocess.run(words, cwd=_FOLDER, capture_output=True).returncode == 0:
            made.write_text(pinned)
    return made.exists()
