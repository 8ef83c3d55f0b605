"""The secret: the one that is given, or the one that is made once and kept in the data directory."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pushsvc.auth import load_secrets
from pushsvc.errors import ConfigError
from tests.support.settings import GOOD_SECRET
from tests.support.stack import ROOT


def test_a_given_secret_is_used_and_not_written(tmp_path: Path) -> None:
    assert load_secrets([GOOD_SECRET], tmp_path / "data") == (GOOD_SECRET,)
    assert not (tmp_path / "data").exists()


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "not" / "yet"
    [secret] = load_secrets((), data_dir)
    assert len(secret.encode()) >= 32
    assert load_secrets((), data_dir) == (secret,)
    assert [path.name for path in data_dir.iterdir()] == ["secret"]
    assert stat.S_IMODE((data_dir / "secret").stat().st_mode) == 0o600
    assert load_secrets((), tmp_path / "other") != (secret,)


def test_processes_that_race_for_the_secret_get_the_same(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pushsvc.auth import load_secrets\n"
        "print('ready', flush=True); sys.stdin.read()\n"
        "for number in range(200): print(number, load_secrets((), Path(sys.argv[1]) / str(number)))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "data")]
    racers = [
        subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.close()  # the start, for all that wait in read()
        outputs = [racer.stdout.read() for racer in racers if racer.stdout is not None]
        assert [racer.wait(30) for racer in racers] == [0] * 4
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
            if racer.stdout is not None:
                racer.stdout.close()
    kept = "".join(f"{number} {load_secrets((), tmp_path / 'data' / str(number))}\n" for number in range(200))
    assert outputs == [kept] * 4
    assert {path.name for path in (tmp_path / "data").glob("*/*")} == {"secret"}


@pytest.mark.parametrize("data_dir", ["file", "file/below", "/proc/pushsvc"])
def test_a_data_directory_that_takes_no_file_is_named(tmp_path: Path, data_dir: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        load_secrets((), tmp_path / data_dir)
    assert caught.value.detail.startswith("PUSHSVC_DATA_DIR: cannot keep the secret in ")
    assert len(caught.value.detail.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"too short", b"\xff" * 40])
def test_a_spoilt_secret_is_refused_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=r"PUSHSVC_SECRET: .*delete it to have a new one made"):
        load_secrets((), tmp_path)
    assert (tmp_path / "secret").read_bytes() == content
