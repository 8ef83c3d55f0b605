"""The chaos class *away* in short: it finds a silent loss, and the service makes none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.ledger import Ledger
from chaos.traffic.absent import GAP, Absent
from tests.support.stack import ROOT


@pytest.mark.parametrize(
    ("heard", "told", "silent", "gaps"),
    [
        ([0, 1, 2, 3], 0, 0, 0),
        ([0, GAP, 3], 2, 0, 1),
        ([GAP, 0, 3], 2, 0, 1),
        ([0, 3], 0, 2, 0),
        ([0, 3, GAP], 0, 2, 1),  # too late: its page has gone on
        ([0, GAP, 2, 3], 1, 0, 1),
        ([0, 2, GAP, 3], 0, 1, 1),
        ([], 0, 4, 0),
    ],
)
def test_a_gap_counts_before_what_is_behind_the_loss(heard: list[int | str], told: int, silent: int, gaps: int) -> None:
    ledger = Ledger()
    for number in range(4):
        assert ledger.begin("user:u") == number
        ledger.ack(number, (1000 + number, 0), 0.0)
    ledger.ack(ledger.begin("user:other"), (2000, 0), 0.0)
    user = Absent("u", ("user:u",), "an event's id", heard=heard)
    assert user.judge(ledger) == (told, silent, gaps)


def test_nobody_who_was_away_misses_anything_in_silence(tmp_path: Path) -> None:
    words = ["--minutes", "0", "--seed", "7", "--only", "log cut back", "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "chaos.away", *words], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert (tmp_path / "away.json").exists(), done.stdout + done.stderr
    report = json.loads((tmp_path / "away.json").read_bytes())
    whole = report["whole"]
    assert (whole["silent"], whole["false"]) == (0, 0), report["notes"]
    assert whole["rounds"] == 4
    assert 0 < whole["told"] < whole["owed"]
    assert done.returncode == 0, report["notes"]
