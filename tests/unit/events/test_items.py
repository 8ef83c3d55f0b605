"""A long array is read item by item, with what the reader of the whole would find."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.events import exact_json, structure
from pushsvc.events.exact_json import Doubled, NotJson
from pushsvc.events.items import ItemTooLong, is_array, items_of

TEXTS = st.text(alphabet='[]{},"\\:aé\U0001f600\n', max_size=5)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | TEXTS | st.just("é" * 20_000) | st.just([[], {}] * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def read(raw: bytes, longest: int = 10**6, values: int = 10**5) -> list[Any]:
    return list(items_of(raw, longest=longest, values=values, pause=lambda: None))


@given(st.lists(VALUES, max_size=6), st.booleans(), st.sampled_from([None, 1]))
def test_items_are_those_of_the_whole(items: list[Any], escaped: bool, indent: int | None) -> None:
    raw = json.dumps(items, ensure_ascii=escaped, indent=indent).encode()
    assert is_array(raw)
    assert exact_json.dumps(read(raw)) == exact_json.dumps(exact_json.loads_items(raw))


@pytest.mark.parametrize("item", ["1.10", "123456789012345678901234567890", "-0", "1e400", '"\\ud83d"'])
def test_items_keep_their_digits_and_halves(item: str) -> None:
    assert exact_json.dumps(read(f"[{item},{item}]".encode()), lone=True) == f"[{item},{item}]".encode()


def test_an_item_with_a_key_twice_stands_for_itself() -> None:
    first, second = read(b'[{"a":1,"a":2},{"b":1}]')
    assert isinstance(first, Doubled)
    assert second == {"b": 1}


@pytest.mark.parametrize("fill", ["", "x" * 20_000])
@pytest.mark.parametrize(
    "raw", ["[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1] 2", "[1]]", "[1}", '["a]', "[tru]", "[{]", "[[1,2]", "[nul"]
)
def test_what_is_no_array_is_told(raw: str, fill: str) -> None:
    with pytest.raises(NotJson):
        read(raw.replace("[", f'["{fill}",', 1).encode())


def test_bytes_that_are_not_utf8_are_told() -> None:
    with pytest.raises(NotJson, match="not valid UTF-8: invalid start byte at byte 2"):
        read(b'["\xff"]')


def test_an_item_is_bounded_in_bytes_and_values() -> None:
    with pytest.raises(ItemTooLong):
        read(b'[1,"' + b"x" * 100_000 + b'"]', longest=50_000)
    with pytest.raises(structure.TooMany):
        read(b"[1,[" + b"[]," * 50_000 + b"1]]", values=10_000)
    assert len(read(b"[1," + b"[]," * 50_000 + b"1]", values=10_000)) == 50_002


def test_what_follows_costs_nothing() -> None:
    items = items_of(b"[1,2," + b"[" * 10**6, longest=10**6, values=10, pause=lambda: None)
    assert [next(items), next(items)] == [1, 2]
