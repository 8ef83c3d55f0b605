"""The settings that the command `python -m pushsvc doctor` takes from its environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.stack import SECRET, command


def doctor(folder: Path, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    words_, environ = command("doctor", *words, secret=SECRET, data_dir=folder, **settings)
    return subprocess.run(words_, env=environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["url", "http"])
def test_where(tmp_path: Path, name: str) -> None:
    place = f"127.0.0.1:{free_port()}"
    done = doctor(tmp_path, **{name: f"http://{place}/" if name == "url" else place})
    assert done.returncode == 1
    assert f"WRONG  readiness: http://{place} does not answer" in done.stdout


def test_an_argument_stands_over_the_environment(tmp_path: Path) -> None:
    place = f"http://127.0.0.1:{free_port()}"
    done = doctor(tmp_path, place, url="http://push.example.com")
    assert f"WRONG  readiness: {place} does not answer" in done.stdout


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"token": "x"}, "PUSHSVC_TOKEN should be a token of a user (claim sub)"),
        (
            {"proxy_protocol": "on", "trusted_proxies": "127.0.0.1", "http": "127.0.0.1:80"},
            "give the service's URL: at 127.0.0.1:80 only proxies may speak, PUSHSVC_PROXY_PROTOCOL",
        ),
        ({"url": "push.example.com"}, "'push.example.com' should be a URL such as https://push.example.com"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    done = doctor(tmp_path, **settings)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"pushsvc: {words}\n")
