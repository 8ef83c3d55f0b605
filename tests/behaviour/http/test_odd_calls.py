"""A small round of `make fuzz`'s calls with odd values."""

from __future__ import annotations

import httpx

from tests.proofs import fuzz_calls
from tests.support.models.model import Model
from tests.support.stack import Stack


def test_no_odd_value_is_an_error_of_the_service(answering: Stack, model: Model) -> None:
    assert fuzz_calls.run(answering, cases=1000, seed=3) == 0


def test_a_path_with_an_empty_part_is_not_found(answering: Stack) -> None:
    """A redirect would repeat the query, and nginx answers 502 to a head that is longer than its buffer."""
    for path in ("/v1/generations//events", "/v1//models"):
        for base in (answering.url, answering.app_url):
            address = f"{base}{path}?odd={'b' * 7000}"
            assert httpx.get(address, headers=answering.bearer("alice"), trust_env=False).status_code == 404
