"""The folder of a gunicorn's counts: its own, and empty at its start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pushsvc.server import metrics_folder


def test_what_ended_gunicorns_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The master may have the id of an ended one, as in a container that is started again."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine, living = tmp_path / "metrics" / str(os.getpid()), tmp_path / "metrics" / str(os.getppid())
    for folder in (mine, living, tmp_path / "metrics" / str(ended.pid)):
        folder.mkdir(parents=True)
        (folder / "gauge_livesum_7.db").touch()
    metrics_folder.choose(tmp_path)
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(mine)
    assert {*(tmp_path / "metrics").iterdir()} == {mine, living}
    assert list(mine.iterdir()) == []
