"""Lines to the operator."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print a line to the operator."""
    print(f"pushsvc: {line}", file=sys.stderr, flush=True)
