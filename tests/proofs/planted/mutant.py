"""A bug that could be made, and the tests that find it."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """`tests`: files, or `file::test`, and after a blank what of them (-k)."""

    name: str
    file: str
    old: str
    new: str
    tests: str
