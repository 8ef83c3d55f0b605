"""Finds a Chromium for the page tests; installs Debian's where there is none and apt may be used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def main() -> None:
    if find() is not None or shutil.which("apt-get") is None or os.geteuid() != 0:
        return  # the page tests say by name that they were skipped
    print("installing chromium for the page tests", file=sys.stderr)
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", "--quiet", "--quiet", *words], env=environ, check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
