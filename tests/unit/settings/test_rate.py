"""Rates, as settings write them."""

from __future__ import annotations

import pytest

from pushsvc.settings.rate import Rate, parse_rates
from tests.support.settings import refusal, settings


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        ("off", []),
        ("120 per minute", [(120, 60)]),
        ("100 per second; 1000/minute", [(100, 1), (1000, 60)]),
        ("5/2 hours", [(5, 7200)]),
    ],
)
def test_rates_are_read(words: str, rates: list[tuple[int, int]]) -> None:
    assert [(each.amount, each.seconds) for each in parse_rates(words)] == rates


@pytest.mark.parametrize("words", ["many", "0 per second", "5", "5 per 9999 years", "-1/second", ";", "1/second;" * 11])
@pytest.mark.parametrize("name", ["RATE_PUBLISH", "RATE_CONNECT", "RATE_ASK"])
def test_others_stop_the_start(words: str, name: str) -> None:
    assert refusal(**{name: words}).startswith(f"PUSHSVC_{name} is {words!r}: should be off, or rates such as")


def test_publishing_has_no_rate_unless_one_is_set() -> None:
    assert settings().rate_publish == ()
    assert settings().rate_topics == (Rate(10_000, 3600, "10000 per hour"),)
    assert settings().rate_connect == (Rate(120, 60, "120 per minute"),)
    assert settings().rate_ask == (Rate(60, 60, "60 per minute"),)
