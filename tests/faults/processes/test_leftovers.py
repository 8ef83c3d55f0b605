"""An exception leaves nothing behind, wherever it is raised: no descriptor, no follower, no count; and nobody hears
what is not theirs on a descriptor that changed hands."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.processes import dies_with_the_tests
from tests.support.stack import ROOT, Stack, command

GROUPS = {
    "arrives": ["arrives", "arrives with HTTP/1.0", "keeps its greenlet", "polls", "is refused"],
    "leaves": ["leaves", "is drained", "is cut", "expires", "is slow", "falls behind"],
}


Labs = dict[str, "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def labs(stack: Stack) -> Iterator[Labs]:
    """Raise at each sixth line."""
    yield from started(stack, every=6)


@pytest.fixture(scope="module")
def long_labs(stack: Stack) -> Iterator[Labs]:
    """Raise at each line."""
    yield from started(stack, every=1)


def started(stack: Stack, every: int) -> Iterator[Labs]:
    """A process for each group of stories, all at once: most of their time is waiting."""
    _, environ = command()
    words = [sys.executable, "-m", "tests.support.inside.raising", f"unix://{stack.data_dir}/valkey.sock"]
    running = {
        name: subprocess.Popen(
            [*words, str(every), *stories], cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE,
            preexec_fn=dies_with_the_tests(signal.SIGKILL),
        )
        for name, stories in GROUPS.items()
    }  # fmt: skip
    yield running
    for each in running.values():
        each.kill()
        each.communicate()


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("group", "lines"), [("arrives", 50), ("leaves", 25)])
def test_an_exception_at_many_lines_leaves_nothing_behind(labs: Labs, group: str, lines: int) -> None:
    holds(labs[group], lines)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("group", "lines"), [("arrives", 300), ("leaves", 150)])
def test_an_exception_at_any_line_leaves_nothing_behind(long_labs: Labs, group: str, lines: int) -> None:
    holds(long_labs[group], lines)


def holds(lab: subprocess.Popen[str], lines: int) -> None:
    printed, _ = lab.communicate(timeout=390)
    found = json.loads(printed)
    assert found["wrong"] == []
    assert found["raised"] > lines, "or they are no longer looked at"


@pytest.mark.timeout(400)
def test_crowds_leave_nothing_behind_where_exceptions_are_raised_at_random(stack: Stack) -> None:
    _, environ = command()
    words = [sys.executable, "-m", "tests.proofs.raised", f"unix://{stack.data_dir}/valkey.sock", "--connects", "500"]
    ended = subprocess.run(words, cwd=ROOT, env=environ, text=True, capture_output=True, timeout=390, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    raised = re.search(r"(\d+) exceptions raised", ended.stdout)
    assert raised is not None
    assert int(raised[1]) > 20, "or they are no longer raised"
