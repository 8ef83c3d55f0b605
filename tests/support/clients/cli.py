"""The program in a process of its own."""

from __future__ import annotations

import subprocess

from tests.support.stack import ROOT, Stack, command


def run(stack: Stack, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """A command in the stack's environment; nothing it does may end in a traceback."""
    argv, environ = command(*words, **stack.settings | settings)
    done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done


def printed(stack: Stack, *words: str) -> str:
    done = run(stack, *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refusal(stack: Stack, *words: str, **settings: object) -> str:
    """The one line of a command that could not do it."""
    done = run(stack, *words, **settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("pushsvc: ")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr
