"""The members of an object, each with the text that says it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.events.exact_json import NotJson
from pushsvc.llm.formats import members
from pushsvc.llm.formats.members import Member

values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=8), values, max_size=5), st.sampled_from([None, 1]))
def test_what_is_read_is_written(value: dict[str, object], indent: int | None) -> None:
    raw = json.dumps(value, indent=indent).encode()
    found = members.read(raw)
    assert found is not None
    assert {name: member.value for name, member in found.items()} == value
    assert json.loads(members.write(found)) == value


def test_each_keeps_its_text() -> None:
    raw = b' { "a" : 1.10 , "\\u0062":[ -0,{"x":1,"x":1e400}] ,"c":"\\ud83d"}\n'
    found = members.read(raw)
    assert found == {
        "a": Member(1.1, "1.10"), "b": Member([0.0, {"x": float("inf")}], '[ -0,{"x":1,"x":1e400}]'),
        "c": Member("\ud83d", '"\\ud83d"'),
    }  # fmt: skip
    assert members.write(found) == b'{"a":1.10,"b":[ -0,{"x":1,"x":1e400}],"c":"\\ud83d"}'
    assert members.read(b"{ }") == {}
    for other in (b"[1]", b"3", b'"x"', b" null "):
        assert members.read(other) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,', b'{"a":1,}', b"{,}", b'{"a" 1}', b'{"a":1 "b":2}',
        b"{a:1}", b'{"a":1}x', b"{}{}", b'{"a":NaN}', b'{"a":01}', b'\xff{"a":1}', b"nope", b'{1:2}', b'{"a":1,"a":1}',
        b'{"a":' + b"[" * 90000, b"[1",
    ],
)  # fmt: skip
def test_what_is_none(raw: bytes) -> None:
    with pytest.raises(NotJson):
        members.read(raw)
