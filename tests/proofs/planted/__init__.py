"""Bugs that could be made, and the tests that find each: see mutants.py."""

from __future__ import annotations

from typing import Final

from tests.proofs.planted import others, storage

MUTANTS: Final = [*storage.MUTANTS, *others.MUTANTS]
