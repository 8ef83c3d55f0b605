"""The planted bugs fit the code and the tests that are there. To plant them: `python -m tests.proofs.mutants`."""

from __future__ import annotations

import pytest

from tests.proofs.planted import MUTANTS
from tests.proofs.planted.mutant import Mutant
from tests.support.stack import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_it_can_be_planted_and_looked_for(mutant: Mutant) -> None:
    assert (ROOT / "pushsvc" / mutant.file).read_text().count(mutant.old) == 1
    file, _, test = mutant.tests.partition(" ")[0].partition("::")
    assert f"def {test}" in (ROOT / "tests" / file).read_text()
