"""Brings what `make clients` needs: browsers and Node from Debian where apt may be used, and the pinned libraries.

What cannot be had is said, and its cells are skipped by name.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from clients.runtimes import ENVIRONMENT, FOLDER, MODULES
from tests.support import programs

_PACKAGES: Final = {
    programs.CHROMIUM: ["chromium"],
    programs.FIREFOX: ["firefox-esr"],
    programs.WEBKIT: ["webkit2gtk-driver"],
    programs.XVFB: ["xvfb"],
    programs.CURL: ["curl"],
    programs.NPM: ["nodejs", "npm"],
}


def main() -> None:
    programs.install(_PACKAGES)
    npm = programs.find(programs.NPM)
    if npm is None:
        print("there is no npm: what is written in JavaScript is skipped", file=sys.stderr)
    else:
        _bring(MODULES, FOLDER / "package-lock.json", [[npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]])
    _bring(
        ENVIRONMENT,
        FOLDER / "requirements.txt",
        [
            [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
            [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", "requirements.txt"],
        ],
    )


def _bring(folder: Path, pinned: Path, commands: Sequence[Sequence[str]]) -> None:
    """Unless it is there as it is pinned."""
    made = folder / ".made"
    if made.exists() and made.read_text() == pinned.read_text():
        return
    for words in commands:
        done = subprocess.run(words, cwd=FOLDER, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{' '.join(words)} failed, and its clients are skipped:\n{done.stderr[-2000:]}", file=sys.stderr)
            return
    made.write_text(pinned.read_text())


if __name__ == "__main__":
    main()
