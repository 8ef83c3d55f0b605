"""W3C Trace Context: which headers are taken, and what of them is passed on."""

from __future__ import annotations

import pytest

from pushsvc.telemetry.current import Request
from pushsvc.telemetry.traceparent import parent_of, passed_on

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "given",
    [
        "", "x", f"0-{TRACE}-{SPAN}-01", f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE.upper()}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"{GOOD},{GOOD}",
        f"{GOOD}\n", f"cc-{TRACE}-{SPAN}-01.more",
    ],
)  # fmt: skip
def test_what_is_malformed_is_as_if_it_were_not_there(given: str) -> None:
    assert parent_of(Request("r", given, "a=b")) is None
    assert passed_on(Request("r", given, "a=b")) == {}


def test_what_is_well_formed_is_passed_on_as_it_came() -> None:
    assert passed_on(Request("r", GOOD)) == {"traceparent": GOOD}
    assert passed_on(Request("r", GOOD, "rojo=00f067aa0ba902b7,congo=t61")) == {
        "traceparent": GOOD, "tracestate": "rojo=00f067aa0ba902b7,congo=t61",
    }  # fmt: skip
    assert passed_on(None) == passed_on(Request("r", None, "a=b")) == {}


def test_a_later_version_is_read_as_far_as_this_one_goes() -> None:
    assert passed_on(Request("r", f"cc-{TRACE}-{SPAN}-03-more")) == {"traceparent": f"00-{TRACE}-{SPAN}-03"}


@pytest.mark.parametrize("state", ["a=" + "b" * 511, "a=\xe9", "a=b\r\nX: y", ""])
def test_a_state_that_is_too_long_or_no_text_is_dropped_alone(state: str) -> None:
    assert passed_on(Request("r", GOOD, state)) == {"traceparent": GOOD}
