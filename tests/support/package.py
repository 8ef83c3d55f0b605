"""The package as others install it: wheel and sdist, and environments that have nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from tests.support.stack import ROOT


def build(folder: Path, target: str = "wheel", source: Path = ROOT) -> Path:
    """Build it from a checkout, or from an unpacked sdist, with no network."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=source, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [built] = folder.glob("*.whl" if target == "wheel" else "*.tar.gz")
    return built


def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


class Environment:
    """A virtual environment that has what is installed into it, and nothing more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.python = str(folder / "bin/python")

    def install(self, *words: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "install", "--quiet", *words], capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def lend(self) -> None:
        """Let it have the libraries of the tests, which do not hold the package."""
        [packages] = self.folder.glob("lib/python*/site-packages")
        (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PUSHSVC_", "PYTHON"))}
        return subprocess.run(
            [str(self.folder / "bin" / words[0]), *words[1:]],
            cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
