"""Programs that tests need and pip has not. Run, it installs Debian's where there are none and apt may be used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REDIS = ("redis-server",)
CC = ("cc", "gcc", "clang")
OPENSSL = ("openssl",)
POSTGRES = ("initdb", *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))
CURL = ("curl",)
IP = ("ip",)
FIREFOX = ("firefox-esr", "firefox")
WEBKIT = ("WebKitWebDriver",)
XVFB = ("Xvfb",)
NODE = ("node", "nodejs")
NPM = ("npm",)
DENO = ("deno",)
BASH = ("bash",)
_PACKAGES = {
    CHROMIUM: ["chromium"],
    REDIS: ["redis-server"],
    CC: ["gcc", "libc6-dev"],
    OPENSSL: ["openssl"],
    POSTGRES: ["postgresql"],
    CURL: ["curl"],
    IP: ["iproute2"],
}


def find(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def need(names: tuple[str, ...]) -> str:
    """The program's path. Without it the test is skipped, or fails where nobody would read of a skipped test."""
    path = find(names)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"there is no {names[0]}, and what was not tested is not done")
    return path or pytest.skip(f"there is no {names[0]} on PATH")


def install(packages: Mapping[tuple[str, ...], Sequence[str]]) -> None:
    """Install Debian's packages, by the programs they bring, where these are missing and apt may be used."""
    missing = [package for names, brought in packages.items() if find(names) is None for package in brought]
    if not missing or shutil.which("apt-get") is None or os.geteuid() != 0:
        return  # the tests say by name that they were skipped
    print(f"installing for the tests: {' '.join(missing)}", file=sys.stderr)
    # RUNLEVEL: no service is started.
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        subprocess.run(["apt-get", "--quiet", "--quiet", *words], env=environ, check=False, stdout=subprocess.DEVNULL)


def bring_wheels(folder: Path, pinned: Path) -> None:
    """Make a virtual environment of a file of requirements."""
    make = [sys.executable, "-m", "venv", "--clear", str(folder)]
    _bring(folder, pinned, [make, [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "-r", pinned.name]])


def bring_modules(folder: Path, pinned: Path) -> None:
    """Make `node_modules` of a package-lock.json."""
    npm = find(NPM)
    if npm is None:
        print("there is no npm: what is written in JavaScript is skipped", file=sys.stderr)
    else:
        _bring(folder, pinned, [[npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]])


def _bring(folder: Path, pinned: Path, commands: Sequence[Sequence[str]]) -> None:
    """Run the commands beside the file `pinned`, unless the folder was made of what that says now. A failure is
    printed, and the tests that need the folder are skipped."""
    made = folder / ".made"
    if made.exists() and made.read_text() == pinned.read_text():
        return
    for words in commands:
        done = subprocess.run(words, cwd=pinned.parent, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{' '.join(words)} failed, and what it brings is skipped:\n{done.stderr[-2000:]}", file=sys.stderr)
            return
    made.write_text(pinned.read_text())


if __name__ == "__main__":
    install(_PACKAGES)
