"""The findings of the checks of `python -m pushsvc doctor`. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """The finding of a check. `check`: its name; `mend`: what to do about it; empty: nothing is wrong. `limits`: it
    limits this deployment, or loses something; else it is worth knowing, and no more."""

    check: str
    text: str
    mend: str = ""
    limits: bool = True

    @property
    def is_wrong(self) -> bool:
        """Whether the deployment should not stay so."""
        return bool(self.mend) and self.limits

    @property
    def mark(self) -> str:
        """The beginning of a line about it."""
        return "WRONG" if self.is_wrong else "note" if self.mend else "well"


class Wrong(Exception):
    """Something is wrong, and the check that found it cannot go on."""

    def __init__(self, text: str, mend: str) -> None:
        super().__init__(text)
        self.text = text
        self.mend = mend
