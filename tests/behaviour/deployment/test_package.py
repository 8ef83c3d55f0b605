"""The wheel, installed, from any folder."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from pushsvc.client import Publisher
from tests.support import package
from tests.support.package import Environment
from tests.support.stack import Stack

APPEND: Final = "pushsvc/storage/redis/lua/log/append.lua"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package.build(tmp_path_factory.mktemp("dist"))


def test_the_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(package.build(tmp_path, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    [source] = (each for each in tmp_path.iterdir() if each.is_dir())
    again = package.names(package.build(tmp_path / "again", source=source))
    assert again == package.names(wheel)
    assert {
        "pushsvc/_files/app.py",
        "pushsvc/_files/nginx/site.conf",
        "pushsvc/storage/redis/lua/log/append.lua",
    } <= again
    assert not [name for name in again if name.startswith(("tests", "bench", "templates")) or name.endswith(".pyc")]


def test_the_client_needs_nothing_else(wheel: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.install("--no-index", "--no-deps", str(wheel))
    code = (
        "from pushsvc.client import *; print(Publisher('http://127.0.0.1:1', 't', patience=0).publish('x', user='a'))"
    )
    done = environment.run("python", "-c", code, cwd=tmp_path)
    assert "pushsvc.client.errors.PublishError: the service at 127.0.0.1:1 does not answer" in done.stderr
    done = environment.run("pushsvc", "--version", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "pip install 'pushsvc[server]'" in done.stderr


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`pushsvc up` of the wheel, in a folder that has nothing."""
    environment = Environment(tmp_path_factory.mktemp("venv"))
    environment.install("--no-index", "--no-deps", str(wheel))
    environment.lend()
    running = Stack(
        tmp_path_factory.mktemp("data"), folder=tmp_path_factory.mktemp("anywhere"),
        program=[str(environment.folder / "bin/pushsvc")],
    )  # fmt: skip
    yield running
    running.stop()
    assert "Traceback" not in running.output, running.output


def test_the_stack_runs_from_any_folder(installed: Stack) -> None:
    with Publisher(installed.url, installed.token("alice", publish=["*"])) as push, installed.listen("alice") as source:
        receipt = push.publish("hello", user="alice")
        source.wait_ids(receipt.id)
    page = httpx.get(f"{installed.url}/", trust_env=False)
    assert ("<title>" in page.text, page.status_code) == (True, 200)
    for path in ("/static/base.css", "/push.js"):
        assert httpx.get(f"{installed.url}{path}", trust_env=False).status_code == 200
    installed.kill("gunicorn")  # and is started again from where it is installed
    installed.until_ready()
