"""The remarks on an environment in which something else seems meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pushsvc.checks.remarks import remarks
from tests.conftest import Start
from tests.support.stack import ROOT, command


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("PUSHSVC_WORKER", "PUSHSVC_WORKERS"),
        ("PUSHSVC_WROKERS", "PUSHSVC_WORKERS"),
        ("PUSHSVC_workers", "PUSHSVC_WORKERS"),
        ("pushsvc_workers", "PUSHSVC_WORKERS"),
        ("PUSHSVC_REDISURL", "PUSHSVC_REDIS_URL"),
        ("PUSHSVC_REDIS-URL", "PUSHSVC_REDIS_URL"),
        ("PUSHSVC_ALLOWED_ORIGIN", "PUSHSVC_ALLOWED_ORIGINS"),
        ("PUSHSVC_TRUSTED_PROXY", "PUSHSVC_TRUSTED_PROXIES"),
        ("PUSHSVC_SECRET_KEY", "PUSHSVC_SECRET"),
        ("PUSHSVC_REDIS", "PUSHSVC_REDIS_URL"),
        ("PUSHSVC_ORIGINS", "PUSHSVC_ALLOWED_ORIGINS"),
    ],
)
def test_a_near_miss_is_named_with_what_was_meant(name: str, guess: str) -> None:
    assert list(remarks({name: "hunter2"})) == [f"{name} is not a setting, and does nothing; is {guess} meant?"]


@pytest.mark.parametrize(
    "name", ["PUSHSVC_COLOUR", "PUSHSVC_", "PUSHSVC", "PUSHSVC_MAX", "PUSHSVC_PORT", "PUSHSVC_X" + "Y" * 500]
)
def test_what_is_like_no_setting_is_named_alone(name: str) -> None:
    assert list(remarks({name: "hunter2"})) == [f"{name} is not a setting, and does nothing"]


def test_what_has_its_meaning_is_not_named() -> None:
    service = "tcp://10.0.0.7:80"  # what Kubernetes tells of a Service named pushsvc
    names = ("PORT", "PORT_80_TCP", "PORT_80_TCP_ADDR", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP")
    environ = {f"PUSHSVC_{name}": service for name in names}
    environ |= {"PUSHSVC_URL": "x", "PUSHSVC_TOKEN": "x", "PUSHSVC_WORKERS": "2", "PATH": "/bin", "WORKERS": "2"}
    assert list(remarks(environ)) == []
    assert list(remarks({"PUSHSVC_PORT": "8080"})) == ["PUSHSVC_PORT is not a setting, and does nothing"]


def test_a_comment_behind_a_value_is_named() -> None:
    [line] = remarks({"PUSHSVC_SECRET": "hunter2   # at least 32 bytes", "PUSHSVC_REDIS_URL": "redis://a/#b"})
    assert line.startswith("PUSHSVC_SECRET holds a blank and a #: ")
    assert "hunter2" not in line


def test_up_says_it_once_and_starts(start: Start) -> None:
    stack = start(wrokers=7, workers=1)
    assert stack.output.count("PUSHSVC_WROKERS is not a setting, and does nothing; is PUSHSVC_WORKERS meant?\n") == 1


def gunicorn(tmp_path: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Start gunicorn as by hand, but only to load everything and check it."""
    _, environ = command(data_dir=tmp_path, redis_url="redis://127.0.0.1:1", **settings)
    words = [sys.executable, "-m", "gunicorn", "--check-config", "-c", "pushsvc/server/gunicorn_conf.py", "app:app"]
    return subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


def test_gunicorn_alone_says_it_too(tmp_path: Path) -> None:
    done = gunicorn(tmp_path, worker=2)
    line, *_ = done.stderr.splitlines()  # the rest, if it came so far, is of the Redis that is not there
    assert done.returncode == 0
    assert line == "pushsvc: PUSHSVC_WORKER is not a setting, and does nothing; is PUSHSVC_WORKERS meant?"


def test_gunicorn_alone_refuses_a_bad_value_in_one_line(tmp_path: Path) -> None:
    done = gunicorn(tmp_path, workers="many")
    assert done.returncode == 1
    assert done.stderr.startswith("pushsvc: PUSHSVC_WORKERS is 'many': ")
    assert len(done.stderr.splitlines()) == 1


def test_serve_says_it_before_it_looks_for_redis(tmp_path: Path) -> None:
    words, environ = command("serve", data_dir=tmp_path, redis_url=f"unix://{tmp_path}/none.sock", htpp="127.0.0.1:80")
    done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    first, second = done.stderr.splitlines()
    assert first == "pushsvc: PUSHSVC_HTPP is not a setting, and does nothing; is PUSHSVC_HTTP meant?"
    assert second.startswith("pushsvc: PUSHSVC_REDIS_URL: ")
