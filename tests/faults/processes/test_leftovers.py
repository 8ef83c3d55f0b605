"""An exception leaves nothing behind, wherever it is raised: no descriptor, no follower, no count; and nobody hears
what is not theirs on a descriptor that changed hands."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.stack import ROOT, Stack, command


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("stories", "lines"),
    [
        (["arrives", "arrives with HTTP/1.0", "keeps its greenlet", "polls", "is refused"], 300),
        (["leaves", "is drained", "is cut", "expires", "is slow", "falls behind"], 150),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_exception_at_any_line_leaves_nothing_behind(stack: Stack, stories: list[str], lines: int) -> None:
    _, environ = command()
    words = [sys.executable, "-m", "tests.support.inside.raising", f"unix://{stack.data_dir}/valkey.sock", *stories]
    done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=390)
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["raised"] > lines, "or they are no longer looked at"
