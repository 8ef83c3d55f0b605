"""The depth of a JSON text, and how much it holds, is found without reading it; questions are bounded by that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.errors import Invalid, TooLarge
from pushsvc.events import structure
from pushsvc.llm import request
from pushsvc.llm.formats import members

MESSAGES = b'"messages":[{"role":"user","content":"q"}]'
TEXTS = st.text(alphabet='[]{},"\\:a\n', max_size=5)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=15,
)


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)


def count(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 1
    return 1 + sum(map(count, value.values() if isinstance(value, dict) else value))


@given(VALUES)
def test_depth_and_number_of_values(value: Any) -> None:
    raw = json.dumps(value).encode()
    deep, many = depth(value), count(value)
    assert not structure.is_deeper(raw, deep)
    assert deep == 0 or structure.is_deeper(raw, deep - 1)
    structure.check(raw, depth=deep, values=2 * many)
    if many > 1:
        with pytest.raises(structure.TooMany):
            structure.check(raw, depth=deep, values=many - 1)


@given(VALUES, st.integers(0, 7), st.integers(0, 3))
def test_pieces_do_not_change_what_is_found(value: Any, shift: int, slashes: int) -> None:
    """Strings, and backslashes in them, lie across the places where a long text is cut."""
    whole = [" " * shift + "\\" * slashes + "x" * 65520, value, "\\" * 40_000, value, '"[' * 50_000, value]
    raw, deep = json.dumps(whole).encode(), 1 + depth(value)
    structure.check(raw, depth=deep, values=2 * count(whole))
    assert structure.is_deeper(raw, deep - 1)


@pytest.mark.parametrize("raw", [b"[" * 200, b"[{},{}," * 200, b"]" * 300, b'["' + b"[" * 300, b"[}" * 200])
def test_what_is_no_json_is_left_to_its_reader(raw: bytes) -> None:
    structure.is_deeper(raw, 100)
    structure.end_of(raw, 0, 1000, lambda: None)


@pytest.mark.parametrize("item", [b"1", b"[]", b'""', b'{"a":1}', b"[" * 90 + b"]" * 90, b'{"":{}}'])
def test_a_question_of_too_many_values_is_refused(item: bytes) -> None:
    """Each value would take a hundred bytes, and all of them the worker's time."""
    for most, raises in ((request.MOST_VALUES // 200, False), (request.MOST_VALUES + 1, True)):
        raw = b'{%b,"x":[%b]}' % (MESSAGES, b",".join([item] * most))
        if not raises:
            request.parse(raw, model="m", stream=True)
            continue
        with pytest.raises(TooLarge, match="more than 100000 values"):
            request.parse(raw, model="m")


def test_a_question_of_too_many_members_is_refused() -> None:
    some = b",".join(b'"m%d":1' % number for number in range(members.MOST_MEMBERS))
    with pytest.raises(Invalid, match="more than 1000 members"):
        request.parse(b"{%b,%b}" % (MESSAGES, some), model="m")
    assert request.parse(b"{%b,%b}" % (MESSAGES, some.rpartition(b",")[0]), model="m").choices == 1


def test_text_counts_as_one_value_whatever_it_holds() -> None:
    said = json.dumps({"messages": [{"role": "user", "content": '[{,"\\' * 200_000}]}).encode()
    assert request.parse(said, model="").body == said
