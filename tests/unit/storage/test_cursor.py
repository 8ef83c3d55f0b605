"""The place at which a client resumes, as it says itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.errors import Invalid
from pushsvc.events.event import EventId
from pushsvc.storage.cursor import PARAMETERS, Cursor, read_cursor
from pushsvc.storage.redis.keys import ALONE, Keys

number = st.integers(0, 2**64 - 1)
ids = st.builds(EventId, number, number)


@given(ids, ids)
def test_the_header_wins_over_the_parameter(header: EventId, parameter: EventId) -> None:
    given = [("last_event_id", str(parameter))]
    assert read_cursor(str(header), given, ALONE) == Cursor(header)
    assert read_cursor(str(header), [("last_event_id", "nonsense")], ALONE) == Cursor(header)
    for empty in (None, ""):
        assert read_cursor(empty, given, ALONE) == Cursor(parameter)
        assert read_cursor(empty, [("last_event_id", "")], ALONE) == Cursor(None)


@given(st.lists(st.tuples(st.sampled_from(PARAMETERS), ids), min_size=1, max_size=5))
def test_of_repeated_parameters_the_newest_counts(given: list[tuple[str, EventId]]) -> None:
    parameters = [(name, str(event_id)) for name, event_id in given]
    assert read_cursor(None, parameters, ALONE) == Cursor(max(event_id for _, event_id in given))


@pytest.mark.parametrize("header", ["0", "null", "1665666647", "urn:uuid:1", "5-0, 5-0", "-", "~", "x~y", f"{2**64}-0"])
def test_a_header_that_is_not_ours_is_a_reader_of_whom_nothing_is_known(header: str) -> None:
    assert read_cursor(header, [], ALONE) == Cursor(None, ours=False)
    assert read_cursor(header, [("last_event_id", "5-0")], ALONE) == Cursor(None, ours=False), "it stands over them"


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", ["abc", "1", "-1-1", f"{2**64}-0", "5-0, 5-0"])
def test_a_bad_parameter_is_named(name: str, value: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_cursor(None, [("last_event_id", "5-0"), (name, value)], ALONE)
    assert [*caught.value.errors] == [name]


def test_what_follows_an_id_is_no_part_of_it() -> None:
    assert read_cursor("5-0~secret", [], ALONE) == Cursor(EventId(5, 0))
    assert read_cursor(None, [("last_event_id", "5-0~secret")], ALONE) == Cursor(EventId(5, 0))


def test_an_id_for_everybody_has_one_for_each_partition() -> None:
    assert read_cursor("5-0.6-0.7-0", [], Keys(1, 3)) == Cursor(EventId(6, 0))
    assert read_cursor("5-0.6-0", [], Keys(1, 3)) == Cursor(None, ours=False)
