"""Rates, as settings write them."""

from __future__ import annotations

from typing import Final, NamedTuple

OFF: Final = "off"
MOST_SECONDS: Final = 366 * 86400
MOST_RATES: Final = 10  # in one setting


class Rate(NamedTuple):
    """At most `amount` in any `seconds`."""

    amount: int
    seconds: int
    words: str


def parse_rates(value: str) -> tuple[Rate, ...]:
    """Read rates in flask-limiter's words, such as `100 per second; 1000/minute`; `off`: none. Raises ValueError."""
    if value.strip().lower() == OFF:
        return ()
    from limits import parse_many  # not before it is needed: it brings asyncio, and takes longer than all settings

    try:
        found = tuple(Rate(each.amount, each.get_expiry(), _words(str(each))) for each in parse_many(value))
    except (ValueError, OverflowError):
        found = ()
    if not found or len(found) > MOST_RATES or not all(_sane(each) for each in found):
        raise ValueError("should be off, or rates such as 100 per second; 1000/minute") from None
    return found


def _sane(rate: Rate) -> bool:
    return 1 <= rate.amount <= 10**9 and 1 <= rate.seconds <= MOST_SECONDS


def _words(text: str) -> str:
    """`120 per 1 minute` as people write it."""
    return text.replace(" per 1 ", " per ")
