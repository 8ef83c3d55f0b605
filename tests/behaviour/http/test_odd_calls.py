"""A small round of `make fuzz`'s calls with odd values."""

from __future__ import annotations

from tests.proofs import fuzz_calls
from tests.support.models.model import Model
from tests.support.stack import Stack


def test_no_odd_value_is_an_error_of_the_service(answering: Stack, model: Model) -> None:
    assert fuzz_calls.run(answering, cases=1000, seed=3) == 0
