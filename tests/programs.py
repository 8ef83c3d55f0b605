"""Programs that tests need and pip has not. Run, it installs Debian's where there are none and apt may be used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

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
CURL = ("curl",)
IP = ("ip",)
_PACKAGES = {
    CHROMIUM: ["chromium"],
    REDIS: ["redis-server"],
    CC: ["gcc", "libc6-dev"],
    OPENSSL: ["openssl"],
    CURL: ["curl"],
    IP: ["iproute2"],
}


def find(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def need(names: tuple[str, ...]) -> str:
    """Its path. Without it the test is skipped, but not where nobody would read that."""
    path = find(names)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"there is no {names[0]}, and what was not tested is not done")
    return path or pytest.skip(f"there is no {names[0]} on PATH")


def main() -> None:
    missing = [package for names, packages in _PACKAGES.items() if find(names) is None for package in packages]
    if not missing or shutil.which("apt-get") is None or os.geteuid() != 0:
        return  # the tests say by name that they were skipped
    print(f"installing for the tests: {' '.join(missing)}", file=sys.stderr)
    # RUNLEVEL: no service is started.
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        subprocess.run(["apt-get", "--quiet", "--quiet", *words], env=environ, check=False, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
