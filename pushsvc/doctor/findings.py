"""What the checks of `python -m pushsvc doctor` find. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """What a check found. `check`: its name; `mend`: what to do about it; empty: nothing is wrong."""

    check: str
    text: str
    mend: str = ""


class Wrong(Exception):
    """Something is wrong, and the check that found it cannot go on."""

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(text)
        self.text = text
        self.mend = mend
